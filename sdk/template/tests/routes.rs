#[test]
fn other_systems_read_and_write_a_card() {
    let host = hospes_testkit::host!();
    let ada = host.customer("Ada").create();
    let card = format!("/cards/{}", ada.id);
    let read = || host.route("GET", &card, None).good().unwrap();
    assert_eq!(read(), json!({ "orders": 0, "thanks": 0 }));
    assert_eq!(host.route("PUT", &card, Some(&json!({ "thanks": 2 }))).status, 204);
    assert_eq!(read(), json!({ "orders": 0, "thanks": 2 }));
    // What the manifest does not allow never reaches the plugin.
    let refused = host.route("PUT", &card, Some(&json!({ "thanks": -1 }))).good().unwrap_err();
    assert_eq!((refused.status, refused.body["errors"][0]["pointer"].as_str()), (422, Some("/thanks")));
    // The tenant's description of the API has it.
    let described = host.request("GET", "/api/v1/tenant/openapi.json", None).good().unwrap();
    let path = &described["paths"]["/api/v1/plugins/PLUGIN-NAME/x/cards/{customer}"];
    assert_eq!(path["get"]["summary"], "A customer's card", "{path}");
}
