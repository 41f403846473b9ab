//! Member card numbers.

/// The digits of a card, the check digit included.
const LENGTH: usize = 16;

/// A customer's card number: the programme's prefix, digits drawn from tenant
/// and customer, and a check digit (Luhn). The same customer always gets the same
/// one, so that an invocation that runs twice agrees with itself. It names a
/// member and proves nothing: no one may redeem by knowing it.
pub(crate) fn number(prefix: &str, tenant: &str, customer: &str) -> String {
    let mut digits: Vec<u8> = prefix.bytes().filter(u8::is_ascii_digit).collect();
    let mut state = tenant.bytes().chain([0]).chain(customer.bytes()).fold(
        // FNV-1a: any even spread will do.
        0xcbf2_9ce4_8422_2325_u64,
        |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3),
    );
    while digits.len() < LENGTH - 1 {
        // One step of SplitMix64 a digit.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let [digit, ..] = (((mixed >> 32) % 10) as u32).to_le_bytes();
        digits.push(b'0' + digit);
    }
    let check = (10 - luhn(&digits) % 10) % 10;
    let mut number: String = digits.into_iter().map(char::from).collect();
    number.push_str(&check.to_string());
    number
}

/// The Luhn sum of the digits before a check digit.
fn luhn(digits: &[u8]) -> u32 {
    let value = |(place, digit): (usize, &u8)| {
        let digit = u32::from(digit - b'0');
        match (place % 2, digit) {
            (0, 5..) => digit * 2 - 9,
            (0, _) => digit * 2,
            _ => digit,
        }
    };
    digits.iter().rev().enumerate().map(value).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn luhn_agrees_with_a_known_number() {
        assert_eq!((10 - luhn(b"7992739871") % 10) % 10, 3);
    }

    #[test]
    fn numbers_are_stable_well_formed_and_apart() {
        let numbers: std::collections::BTreeSet<String> =
            (0..10_000).map(|customer| number("88", "ten_1", &format!("cus_{customer}"))).collect();
        assert_eq!(numbers.len(), 10_000);
        for number in &numbers {
            assert!(number.len() == LENGTH && number.starts_with("88"), "{number}");
        }
        assert_eq!(number("88", "t", "c"), number("88", "t", "c"));
        assert_ne!(number("88", "t", "c"), number("88", "u", "c"));
    }
}
