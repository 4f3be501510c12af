//! Sends, through frames.

use ringmq_wire::code::RequestCode::*;

use crate::broker::testing::Table;

#[test]
fn rule_10_a_send_is_answered_with_its_place() {
    let mut table = Table::new();
    let producer = table.connect();
    for expected in 0..3 {
        let answer = table.send(producer, "TopicA", 2, "TagA", "hello").expect(0);
        assert_eq!((answer.number("queueId"), answer.number("queueOffset")), (2, expected));
        assert_eq!(answer.field("msgId").len(), 32);
        assert!(answer.field("msgId").starts_with("0A00000200002A9F"));
        assert_eq!(answer.field("transactionId"), "k");
        assert_eq!((answer.field("MSG_REGION"), answer.field("TRACE_ON")), ("DefaultRegion", "true"));
    }
}
