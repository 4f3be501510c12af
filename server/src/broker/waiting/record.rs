//! The record of a message that waits, made from the message, and the message made from it when it is due. Pure.
//!
//! | | waits as | is delivered as |
//! | --- | --- | --- |
//! | topic, queue | the schedule topic, level − 1; or the timer topic, 0 | `REAL_TOPIC`, `REAL_QID` |
//! | a level's properties | its own without timers, `DELAY` as it counts, `REAL_TOPIC`, `REAL_QID` | the same |
//! | a timer's | its own, `TIMER_OUT_MS`, `REAL_TOPIC`, `REAL_QID` | with `TIMER_ENQUEUE_MS`, `TIMER_DEQUEUE_MS` |
//! | body, flags, born time and host, reconsume times, prepared offset | the message's | the same |
//!
//! So consumers see where a message has waited, as they do with Apache's broker.
//!
//! Source: `broker/.../util/HookUtils.java`, `broker/.../schedule/ScheduleMessageService.java` (`messageTimeUp`),
//! `store/.../timer/TimerMessageStore.java` (`convert`).

use ringmq_wire::name::{SCHEDULE_TOPIC, TIMER_TOPIC};
use ringmq_wire::record::{Draft, Record, properties};

use super::rule::Wait;

/// The topic and queue in which a message waits.
pub fn place(wait: Wait) -> (&'static str, i32) {
    match wait.level {
        0 => (TIMER_TOPIC, 0),
        level => (SCHEDULE_TOPIC, i32::from(level) - 1),
    }
}

/// Writes the properties of the waiting record of a message for that queue.
pub fn push_waiting_properties(wait: Wait, message: &Draft<'_>, out: &mut Vec<u8>) {
    let (real_topic, real_queue) = (properties::REAL_TOPIC, properties::REAL_QUEUE_ID);
    if wait.level == 0 {
        properties::copy_without(
            message.properties,
            &[real_topic, real_queue, properties::TIMER_OUT_MS],
            out,
        );
        // Apache's time rounded down to its precision, which is a millisecond here: it is passed when the message is due.
        properties::push_number(properties::TIMER_OUT_MS, wait.due_ms - 1, out);
    } else {
        let written = [
            real_topic,
            real_queue,
            properties::DELAY,
            properties::TIMER_DELIVER_MS,
            properties::TIMER_DELAY_SEC,
            properties::TIMER_DELAY_MS,
        ];
        properties::copy_without(message.properties, &written, out);
        properties::push_number(properties::DELAY, i64::from(wait.level), out);
    }
    properties::push(real_topic, message.topic, out);
    properties::push_number(real_queue, i64::from(message.queue_id), out);
}

/// The message that a waiting record becomes at `now_ms`; `properties` is where they are written. `None`: it says not where it
/// belongs.
pub fn delivered<'a>(
    waiting: &Record<'a>,
    now_ms: i64,
    properties_out: &'a mut Vec<u8>,
) -> Option<Draft<'a>> {
    let topic = waiting.property(properties::REAL_TOPIC)?;
    let queue_id = waiting.property(properties::REAL_QUEUE_ID)?.parse().ok()?;
    properties_out.clear();
    if waiting.topic == TIMER_TOPIC {
        let written = [properties::TIMER_ENQUEUE_MS, properties::TIMER_DEQUEUE_MS];
        properties::copy_without(waiting.properties, &written, properties_out);
        properties::push_number(properties::TIMER_ENQUEUE_MS, waiting.store_timestamp_ms, properties_out);
        properties::push_number(properties::TIMER_DEQUEUE_MS, now_ms, properties_out);
    } else {
        properties_out.extend_from_slice(waiting.properties);
    }
    Some(Draft {
        topic,
        queue_id,
        flag: waiting.flag,
        sys_flag: waiting.sys_flag,
        born_timestamp_ms: waiting.born_timestamp_ms,
        born_host: waiting.born_host,
        store_host: waiting.store_host,
        reconsume_times: waiting.reconsume_times,
        prepared_transaction_offset: waiting.prepared_transaction_offset,
        body: waiting.body,
        properties: properties_out,
    })
}

#[cfg(test)]
mod tests {
    use ringmq_wire::record::decode;

    use super::*;

    fn message(properties: &[u8]) -> Draft<'_> {
        Draft {
            topic: "T",
            queue_id: 3,
            flag: 7,
            sys_flag: 1,
            born_timestamp_ms: 11,
            born_host: "10.0.0.1:5000".parse().unwrap(),
            store_host: "10.0.0.2:10911".parse().unwrap(),
            reconsume_times: 2,
            prepared_transaction_offset: 99,
            body: b"body",
            properties,
        }
    }

    /// Waits and is delivered at 5000; the properties at both times.
    fn through(level: u8, given: &str) -> (String, String) {
        let given = given.replace('=', "\u{1}").replace(' ', "\u{2}");
        let (message, wait) = (message(given.as_bytes()), Wait { due_ms: 5000, level });
        let (mut waiting, mut out, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
        push_waiting_properties(wait, &message, &mut waiting);
        let (topic, queue_id) = place(wait);
        Draft { topic, queue_id, properties: &waiting, ..message }.encode(&mut bytes).unwrap();
        ringmq_wire::record::place(&mut bytes, 1, 2, 4000);
        let record = decode(&bytes).unwrap();
        let delivered = delivered(&record, 5000, &mut out).unwrap();
        assert_eq!((delivered.topic, delivered.queue_id, delivered.body), ("T", 3, &b"body"[..]));
        assert_eq!((delivered.flag, delivered.sys_flag, delivered.reconsume_times), (7, 1, 2));
        assert_eq!((delivered.born_timestamp_ms, delivered.born_host), (11, message.born_host));
        assert_eq!((delivered.prepared_transaction_offset, delivered.store_host), (99, message.store_host));
        let text = |properties: &[u8]| {
            String::from_utf8_lossy(properties)
                .replace('\u{1}', "=")
                .replace('\u{2}', " ")
                .trim_end()
                .to_owned()
        };
        let after = text(delivered.properties);
        (text(&waiting), after)
    }

    #[test]
    fn a_level_shows_where_it_waited_and_a_timer_also_when() {
        #[rustfmt::skip]
        let rows: &[(u8, &str, &str, &str)] = &[
            (3, "K=v DELAY=3 ",             "K=v DELAY=3 REAL_TOPIC=T REAL_QID=3", ""),
            (18, "DELAY=99 K=v ",           "K=v DELAY=18 REAL_TOPIC=T REAL_QID=3", ""),
            (1, "TIMER_DELAY_MS=4 DELAY=1 ", "DELAY=1 REAL_TOPIC=T REAL_QID=3", ""),
            (1, "REAL_TOPIC=X REAL_QID=9 ", "DELAY=1 REAL_TOPIC=T REAL_QID=3", ""),
            (0, "K=v TIMER_DELAY_MS=4 ",    "K=v TIMER_DELAY_MS=4 TIMER_OUT_MS=4999 REAL_TOPIC=T REAL_QID=3",
                " TIMER_ENQUEUE_MS=4000 TIMER_DEQUEUE_MS=5000"),
        ];
        for (level, given, waiting, more) in rows {
            assert_eq!(through(*level, given), (waiting.to_string(), format!("{waiting}{more}")), "{given}");
        }
    }

    #[test]
    fn where_it_waits_is_told_by_its_level() {
        let at = |level| place(Wait { due_ms: 1, level });
        assert_eq!([at(0), at(1), at(18)], [(TIMER_TOPIC, 0), (SCHEDULE_TOPIC, 0), (SCHEDULE_TOPIC, 17)]);
    }

    #[test]
    fn a_record_that_says_not_where_it_belongs_is_nothing() {
        for properties in
            ["", "REAL_TOPIC\u{1}T\u{2}", "REAL_TOPIC\u{1}T\u{2}REAL_QID\u{1}x\u{2}", "REAL_QID\u{1}1\u{2}"]
        {
            let (mut bytes, mut out) = (Vec::new(), Vec::new());
            message(properties.as_bytes()).encode(&mut bytes).unwrap();
            assert!(delivered(&decode(&bytes).unwrap(), 5, &mut out).is_none(), "{properties:?}");
        }
    }
}
