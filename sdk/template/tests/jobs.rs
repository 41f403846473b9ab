#[test]
fn the_cards_are_looked_at_every_night() {
    let host = hospes_testkit::host!();
    host.advance(std::time::Duration::from_secs(24 * 3600));
    assert_eq!(host.work().jobs, 1);
    assert_eq!(json!(host.log()), json!(["looked at 0 cards"]));
}
