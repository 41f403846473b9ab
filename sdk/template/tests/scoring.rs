#[test]
fn who_orders_more_is_scored_higher() {
    let host = hospes_testkit::host!();
    let (ada, bo) = (host.customer("Ada").create(), host.customer("Bo").create());
    host.order(&ada).line("LAT", "coffee", 2, 700).create();
    let wanted = json!({ "customer_ids": [ada.id, bo.id] });
    let scored = host.request("POST", "/api/v1/plugins/PLUGIN-NAME/scoring/loyalty", Some(&wanted));
    let scored = scored.good().unwrap();
    let score = |id: &str| {
        let items = scored["items"].as_array().unwrap();
        items.iter().find(|item| item["customer_id"] == id).unwrap()["score"].clone()
    };
    assert_eq!((score(&ada.id), score(&bo.id)), (json!(10.0), json!(0.0)), "{scored}");
}
