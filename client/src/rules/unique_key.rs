//! A message's id as its producer gives it (property `UNIQ_KEY`), made as Java makes it, because tools read the time in it
//! to bound their search.
//!
//! ```text
//! upper-case hex of: address (4) · process (2) · hash (4) · ms since the month began (4) · counter (2)
//! ```
//!
//! Invariant: two ids of one maker differ, unless it makes 65,536 in a millisecond.
//!
//! Source: `common/.../message/MessageClientIDSetter.java`.

const DAY_MS: u64 = 86_400_000;

/// Makes ids. One per client.
#[derive(Debug)]
pub(crate) struct UniqueKeys {
    fixed: [u8; 10],
    counter: u16,
}

impl UniqueKeys {
    /// `random` stands for the hash that tells two makers in one process apart.
    pub fn new(address: [u8; 4], process: u32, random: u32) -> UniqueKeys {
        let mut fixed = [0; 10];
        fixed[..4].copy_from_slice(&address);
        fixed[4..6].copy_from_slice(&process.to_be_bytes()[2..]);
        fixed[6..].copy_from_slice(&random.to_be_bytes());
        UniqueKeys { fixed, counter: 0 }
    }

    /// The next id, 32 characters, appended to `out`.
    pub fn push_next(&mut self, now_ms: u64, out: &mut String) {
        self.counter = self.counter.wrapping_add(1);
        let since_month = (now_ms - month_start_ms(now_ms)) as u32;
        push_hex(&self.fixed, out);
        push_hex(&since_month.to_be_bytes(), out);
        push_hex(&self.counter.to_be_bytes(), out);
    }
}

fn push_hex(bytes: &[u8], out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        out.push(char::from(HEX[usize::from(byte >> 4)]));
        out.push(char::from(HEX[usize::from(byte & 15)]));
    }
}

/// When the month of `now_ms` began, in UTC.
///
/// Source: Hinnant, "chrono-compatible low-level date algorithms" (`civil_from_days`): years begin in March, so that
/// the day of the month follows from the day of the year alone.
fn month_start_ms(now_ms: u64) -> u64 {
    let days = now_ms / DAY_MS;
    let of_era = (days + 719_468) % 146_097;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5;
    (days - of_month) * DAY_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_begin_where_the_calendar_says() {
        for (now, start) in [
            (0, 0),                                 // 1970-01-01
            (31 * DAY_MS - 1, 0),                   // 1970-01-31
            (31 * DAY_MS, 31 * DAY_MS),             // 1970-02-01
            (1_709_164_800_000, 1_706_745_600_000), // 2024-02-29
            (1_709_251_200_000, 1_709_251_200_000), // 2024-03-01
            (1_700_000_000_123, 1_698_796_800_000), // 2023-11-14
            (1_704_067_199_999, 1_701_388_800_000), // 2023-12-31
        ] {
            assert_eq!(month_start_ms(now), start, "{now}");
        }
    }

    #[test]
    fn ids_have_javas_form_and_differ() {
        let mut keys = UniqueKeys::new([127, 0, 0, 1], 0x1_2345, 0xCAFE_BABE);
        let mut next = |now| {
            let mut id = String::new();
            keys.push_next(now, &mut id);
            id
        };
        assert_eq!(next(31 * DAY_MS + 5), "7F0000012345CAFEBABE000000050001");
        let ids: std::collections::HashSet<_> = (0..65_536).map(|_| next(7)).collect();
        assert_eq!(ids.len(), 65_536);
        assert!(ids.iter().all(|id| id.len() == 32));
    }
}
