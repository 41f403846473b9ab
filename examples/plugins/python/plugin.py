"""A stamp for every order, and a gift for a full card.

The same plugin stands beside in Rust and in JavaScript. A fresh instance runs every time: what
must last belongs in documents, never in variables.
"""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.actions import Outcome
from wit_world.exports.panels import Block_Stat, Stat, Tone
from wit_world.imports import context, documents, log
from wit_world.imports.types import (
    Error_NotFound,
    Error_Rejected,
    Rejection,
    Subject_Customer,
)

# Orders that a card remembers, the latest: an event may come twice, but not months later.
ORDERS_MAX = 200


class Events(exports.Events):
    def handle(self, events):
        for event in events:
            if event.name != "order.created":
                continue
            order = json.loads(event.body)
            card = card_of(order["customer_id"])
            if order["id"] in card["orders"]:
                continue
            card["stamps"] += 1
            card["orders"] = [*card["orders"], order["id"]][-ORDERS_MAX:]
            log.write(log.Level.INFO, f"{card['stamps']} stamps")
            save(order["customer_id"], card)


class Actions(exports.Actions):
    def run(self, action, target, input):
        if not isinstance(target, Subject_Customer):
            raise Err(Error_NotFound("action of this record"))
        stamps = json.loads(input)["stamps"]
        card = card_of(target.value)
        if card["stamps"] < stamps:
            message = f"The card has {card['stamps']} of {stamps} stamps."
            raise Err(Error_Rejected(Rejection("too_few_stamps", message, [])))
        card["stamps"] -= stamps
        save(target.value, card)
        return Outcome("Enjoy!", json.dumps({"stamps": card["stamps"]}))


class Panels(exports.Panels):
    def render(self, slot, target):
        if not isinstance(target, Subject_Customer):
            return []
        label = "印章" if context.get().locale == "zh-CN" else "Stamps"
        stamps = str(card_of(target.value)["stamps"])
        return [Block_Stat(Stat(label, stamps, None, Tone.NEUTRAL))]


def card_of(customer):
    [found] = documents.get_many([documents.Key("cards", customer)])
    return {"stamps": 0, "orders": []} if found is None else json.loads(found.body)


def save(customer, card):
    put = documents.Put(
        "cards",
        customer,
        Subject_Customer(customer),
        documents.Expectation_Nothing(),
        json.dumps(card),
    )
    documents.put_many([put])
