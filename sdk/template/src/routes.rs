//! REST endpoints under `/api/v1/plugins/PLUGIN-NAME/x`, for other systems. The host has checked who
//! asks, and the request against `plugin.toml`. A `GET` may read and must not write.

use hospes_sdk::routes::{Method, Request, Response};
use hospes_sdk::{Error, Result, Routes, json};
use serde::Deserialize;

use crate::PluginType;
use crate::card::Card;

#[derive(Deserialize)]
struct Change {
    thanks: u32,
}

impl Routes for PluginType {
    fn answer(request: Request) -> Result<Response> {
        let customer = request.param("customer");
        // The path is as the manifest declares it, with the parameter's name in it.
        match (request.method, request.path.as_str()) {
            (Method::Get, "/cards/{customer}") => {
                let Card { orders, thanks } = Card::of(customer)?;
                Ok(Response::ok(json!({ "orders": orders.len(), "thanks": thanks })))
            }
            (Method::Put, "/cards/{customer}") => {
                let Change { thanks } = request.body()?;
                Card { thanks, ..Card::of(customer)? }.save(customer)?;
                Ok(Response::done())
            }
            _ => Err(Error::NotFound(format!("route `{}`", request.path))),
        }
    }
}

#[cfg(test)]
mod tests {
    use hospes_sdk::{Value, testing};

    use super::*;

    fn ask(method: Method, body: Option<Value>) -> Result<Response> {
        let path = "/cards/{customer}".to_owned();
        let params = [("customer".to_owned(), "cus_1".to_owned())].into();
        let request = Request { method, path, params, query: [].into(), body };
        // As the host does it: what only reads is refused every write.
        match method {
            Method::Get => testing::invoke_read_only(|| PluginType::answer(request)),
            _ => testing::invoke(|| PluginType::answer(request)),
        }
    }

    #[test]
    fn a_card_is_written_and_read() {
        testing::start(include_str!("../plugin.toml"));
        testing::put_customer(json!({ "id": "cus_1" }));
        let answer = ask(Method::Get, None).unwrap();
        assert_eq!(answer, Response::ok(json!({ "orders": 0, "thanks": 0 })));
        assert_eq!(ask(Method::Put, Some(json!({ "thanks": 2 }))).unwrap(), Response::done());
        assert_eq!(ask(Method::Get, None).unwrap().body.unwrap()["thanks"], 2);
        assert!(ask(Method::Put, Some(json!({ "thanks": "two" }))).is_err());
    }
}
