#[test]
fn a_customer_is_thanked_three_times_at_most() {
    let host = hospes_testkit::host!();
    let ada = host.customer("Ada").create();
    let words = json!({ "words": "Thank you for every coffee." });
    for times in 1..=3 {
        assert_eq!(host.press(&ada, "thank", &words).unwrap().body["thanks"], times);
    }
    assert_eq!(host.press(&ada, "thank", &words).unwrap_err().code, "thanked_enough");
    // The refused call has left nothing behind.
    let thanks = host.timeline(&ada).into_iter().filter(|entry| entry.to_string().contains("every coffee"));
    assert_eq!(thanks.count(), 3);
}
