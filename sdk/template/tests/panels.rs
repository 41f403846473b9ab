#[test]
fn the_panel_speaks_the_readers_language() {
    let host = hospes_testkit::host!();
    let ada = host.customer("Ada").create();
    assert!(host.panel(&ada).text().contains("Orders"));
    let chinese = [("accept-language", "zh-CN")];
    let overview = host.request_with("GET", &format!("/api/v1/customers/{}/overview", ada.id), &chinese, None);
    let text = overview.body["panels"].to_string();
    assert_eq!((overview.status, text.contains("订单数")), (200, true), "{text}");
    assert_ne!(overview.body["panels"], json!([]));
}
