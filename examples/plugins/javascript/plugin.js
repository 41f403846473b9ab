// A stamp for every order, and a gift for a full card.
//
// The same plugin stands beside in Rust and in Python. A fresh instance runs every time: what must
// last belongs in documents, never in variables.

import { get as invocation } from "hospes:plugin/context@1.0.0";
import { getMany, putMany } from "hospes:plugin/documents@1.0.0";
import { write } from "hospes:plugin/log@1.0.0";

// Orders that a card remembers, the latest: an event may come twice, but not months later.
const ORDERS_MAX = 200;

export const events = {
  handle(batch) {
    for (const event of batch) {
      if (event.name !== "order.created") continue;
      const order = JSON.parse(event.body);
      const card = cardOf(order.customer_id);
      if (card.orders.includes(order.id)) continue;
      card.stamps += 1;
      card.orders = [...card.orders, order.id].slice(-ORDERS_MAX);
      write("info", `${card.stamps} stamps`);
      save(order.customer_id, card);
    }
  },
};

export const actions = {
  run(_action, target, input) {
    if (target.tag !== "customer") throw { tag: "not-found", val: "action of this record" };
    const { stamps } = JSON.parse(input);
    const card = cardOf(target.val);
    if (card.stamps < stamps) {
      const message = `The card has ${card.stamps} of ${stamps} stamps.`;
      throw { tag: "rejected", val: { code: "too_few_stamps", message, faults: [] } };
    }
    card.stamps -= stamps;
    save(target.val, card);
    return { message: "Enjoy!", body: JSON.stringify({ stamps: card.stamps }) };
  },
};

export const panels = {
  render(_slot, target) {
    if (target.tag !== "customer") return [];
    const label = invocation().locale === "zh-CN" ? "印章" : "Stamps";
    const value = String(cardOf(target.val).stamps);
    return [{ tag: "stat", val: { label, value, note: null, tone: "neutral" } }];
  },
};

function cardOf(customer) {
  const [found] = getMany([{ collection: "cards", key: customer }]);
  return found === null ? { stamps: 0, orders: [] } : JSON.parse(found.body);
}

function save(customer, card) {
  const subject = { tag: "customer", val: customer };
  const expect = { tag: "nothing" };
  putMany([{ collection: "cards", key: customer, subject, expect, body: JSON.stringify(card) }]);
}
