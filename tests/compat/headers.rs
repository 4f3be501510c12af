//! Odd but legal headers: numbers for text, no fields, control characters, unknown languages, binary form.

use std::io::Write;
use std::net::TcpStream;

use ringmq_tests::compat::client::Kind;
use ringmq_tests::compat::site::Site;
use ringmq_tests::compat::wire::{frame, read_answer};
use serde_json::json;

use crate::reading::{PATIENCE, keys, only, read_exactly};

#[test]
fn every_legal_spelling_of_a_send_is_stored() {
    for site in Site::all() {
        let site = site();
        site.create_topic("Spelled", 1, 6);
        let (_, address) = site.brokers().remove(0);
        let body = "body";
        let properties = r#""properties":"KEYS\u0001k\u0002TAGS\u0001TagA\u0002""#;
        let long = format!(
            r#""producerGroup":"g","topic":"Spelled","defaultTopic":"TBW102","defaultTopicQueueNums":4,"queueId":0,
               "sysFlag":0,"bornTimestamp":1700000000000,"flag":0,"reconsumeTimes":null,"unitMode":false,{properties}"#
        );
        let short = format!(
            r#""a":"g","b":"Spelled","c":"TBW102","d":"4","e":"0","f":"0","g":"1700000000000","h":"0","n":"node-0",
               "i":"KEYS\u0001k\u0002消\uD83E\uDD80\u0001x\/y\u0002""#
        );
        let rows = [
            format!(
                r#"{{"code":10,"extFields":{{{long}}},"flag":0,"language":"CPP","opaque":7,"version":63}}"#
            ),
            format!(
                r#"{{"code":310,"extFields":{{{short}}},"flag":0,"language":"JAVA","opaque":7,"version":479}}"#
            ),
            format!(
                r#"{{"code":310,"extFields":{{{short}}},"flag":0,"language":"COBOL","opaque":7,"version":0}}"#
            ),
            format!(
                r#"{{"extra":[1,{{"x":null}}],"opaque":7,"code":310,"remark":null,"extFields":{{{short}}}}}"#
            ),
            format!("{{\"code\":310,\n \"extFields\" : {{{short}}} , \"flag\":0, \"opaque\":7}}\n"),
        ];
        for (row, head) in rows.iter().enumerate() {
            let mut stream = TcpStream::connect(&address).expect("the broker listens");
            stream.write_all(&frame(head.as_bytes(), body.as_bytes())).expect("the broker reads");
            let answer =
                read_answer(&mut stream).unwrap_or_else(|error| panic!("row {row}: {error}: {head}"));
            assert_eq!(answer.code(), 0, "row {row}: {}: {head}", answer.remark());
            assert_eq!(answer.head["opaque"], 7, "row {row}");
            assert_eq!(answer.head["extFields"]["queueOffset"], json!(row.to_string()), "row {row}");
        }
    }
}

#[test]
fn a_heartbeat_without_fields_is_accepted() {
    for site in Site::all() {
        let site = site();
        let (_, address) = site.brokers().remove(0);
        let body = json!({"clientID": "127.0.0.1@1", "producerDataSet": [{"groupName": "g"}], "consumerDataSet": []});
        let head = r#"{"code":34,"flag":0,"language":"JAVA","opaque":-3,"serializeTypeCurrentRPC":"JSON","version":409}"#;
        let mut stream = TcpStream::connect(&address).expect("the broker listens");
        stream.write_all(&frame(head.as_bytes(), body.to_string().as_bytes())).expect("the broker reads");
        let answer = read_answer(&mut stream).expect("an answer");
        assert_eq!((answer.code(), &answer.head["opaque"]), (0, &json!(-3)));
    }
}

#[test]
fn a_client_that_writes_binary_headers_works() {
    for site in Site::all() {
        let site = site();
        site.create_topic("Binary", 4, 6);
        for release in ["4.9.8", "5.3.3"] {
            let mut client = site.client(Kind::JavaBinary(release));
            let word = client.kind().word();
            let group = format!("binary-{word}");
            client.order("reader", json!({"do": "consume", "topic": "Binary", "group": group, "tags": word}));
            let mut sent = Vec::new();
            for (way, count) in [("selector", 20), ("batch", 5)] {
                let order = json!({"do": "send", "topic": "Binary", "way": way, "count": count, "tag": word});
                let prefix = format!("{word}_{way}");
                assert!(!only(client.carry_out(&prefix, order, PATIENCE), "sent").is_empty(), "{prefix}");
                sent.extend((0..count).map(|i| format!("{prefix}-{i}")));
            }
            sent.sort_unstable();
            let messages = read_exactly(&mut client, "reader", sent.len());
            assert_eq!(keys(&messages), sent);
            client.finish("reader", PATIENCE);
        }
    }
}
