#[test]
fn another_plugin_is_told_what_is_on_a_card() {
    let host = hospes_testkit::host!();
    let ada = host.customer("Ada").create();
    let told = host.call("card", &json!({ "customer": ada.id })).unwrap();
    assert_eq!(told, json!({ "orders": 0, "thanks": 0 }));
    let refused = host.call("card", &json!({ "customer": 7 })).unwrap_err();
    assert_eq!((refused.status, refused.body["errors"][0]["pointer"].as_str()), (422, Some("/customer")));
    assert_eq!(host.call("no-such-function", &json!({})).unwrap_err().status, 404);
}
