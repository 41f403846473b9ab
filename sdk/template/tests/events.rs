#[test]
fn an_order_is_counted_once() {
    let host = hospes_testkit::host!();
    let ada = host.customer("Ada").create();
    let order = host.order(&ada).line("LAT", "coffee", 2, 700).create();
    assert_eq!(host.work().handled, 1);
    assert_eq!(host.documents("cards")[&ada.id]["orders"], json!([order.id]));
    hospes_testkit::assert_fuel_below!(host, "events", 1_000_000);
}
