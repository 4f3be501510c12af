//! The broker itself: its settings (26), its runtime table (28), statistics by name (315).
//!
//! The table has the keys that `clusterList`, `brokerStatus` and the Dashboard read, in Apache's forms. What we do
//! not know is not made up: it has the value that Apache gives when it does not know either.
//!
//! Source: `broker/.../processor/AdminBrokerProcessor.java` (`prepareRuntimeInfo`), `store/.../StoreStatsService.java`.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use ringmq_engine::env::Env;
use ringmq_wire::command::VERSION;
use ringmq_wire::json;
use ringmq_wire::request::admin::{BrokerSettingsReply, TextTable};
use ringmq_wire::request::topic::DataVersion;

use crate::broker::counters::{Counters, Totals};
use crate::broker::limits::{BODY_BYTES_MAX, PULL_BYTES_MAX, PULL_RECORDS_MAX};
use crate::broker::outcome::{Now, Outcome};
use crate::broker::reply::{Refusal, Reply};
use crate::broker::{Broker, Call};

/// GET_BROKER_CONFIG: what is set, under Apache's names, as lines of text.
pub fn config<E: Env>(
    broker: &mut Broker<E>,
    _call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let Broker { identity, settings, .. } = &*broker;
    let mut text = String::new();
    let mut line = |key: &str, value: &dyn Display| text.push_str(&format!("{key}={value}\n"));
    line("brokerClusterName", &identity.cluster);
    line("brokerName", &identity.broker_name);
    line("brokerId", &0);
    line("brokerIP1", &identity.store_host.ip());
    line("listenPort", &identity.store_host.port());
    line("regionId", &identity.region);
    line("brokerPermission", &6);
    line("autoCreateTopicEnable", &settings.auto_create_topic);
    line("autoCreateSubscriptionGroup", &settings.auto_create_group);
    line("defaultTopicQueueNums", &settings.default_topic_queues);
    line("traceOn", &settings.trace_on);
    line("longPollingEnable", &true);
    line("messageDelayLevel", &settings.waits.levels);
    line("timerWheelEnable", &true);
    line("timerMaxDelaySec", &(settings.waits.horizon_ms / 1_000));
    line("recallMessageEnable", &settings.waits.recall);
    line("rejectTransactionMessage", &true);
    line("maxMessageSize", &BODY_BYTES_MAX);
    line("maxTransferBytesOnMessageInMemory", &PULL_BYTES_MAX);
    line("maxTransferCountOnMessageInMemory", &PULL_RECORDS_MAX);
    line("brokerRole", &"ASYNC_MASTER");
    line("ringmqVersion", &identity.version);
    let version =
        json::write(&DataVersion { counter: 0, state_version: 0, timestamp: broker.opened_wall_ms });
    let version = String::from_utf8_lossy(&version);
    reply.fields_and_body(&BrokerSettingsReply { version: &version }.fields(), text.as_bytes());
    Ok(Outcome::Reply)
}

/// GET_BROKER_RUNTIME_INFO
pub fn runtime<E: Env>(
    broker: &mut Broker<E>,
    call: &Call<'_>,
    reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let Broker { counters, store, identity, .. } = &*broker;
    let (begin, end) = store.log_bounds();
    let up = Duration::from_millis(u64::try_from(call.now.wall_ms - broker.opened_wall_ms).unwrap_or(0));
    let mut table = BTreeMap::new();
    let mut put = |key: &str, value: &dyn Display| {
        table.insert(key.to_owned(), value.to_string());
    };
    put("brokerActive", &store.poisoned().is_none());
    put("brokerVersion", &VERSION);
    put("brokerVersionDesc", &identity.version);
    put("bootTimestamp", &broker.opened_wall_ms);
    put("runtime", &days(up));
    put("commitLogMinOffset", &begin.0);
    put("commitLogMaxOffset", &end.0);
    put("connections", &broker.sessions.len());
    put("parkedPulls", &broker.parked.len());

    let Totals { put: sent, put_bytes, put_failed, .. } = counters.totals;
    put("putMessageTimesTotal", &sent);
    put("putMessageFailedTimes", &put_failed);
    put("putMessageSizeTotal", &put_bytes);
    put("putMessageAverageSize", &format!("{:.2}", put_bytes as f64 / sent.max(1) as f64));
    put("putTps", &rates(counters, call.now, |totals| totals.put));
    put("getFoundTps", &rates(counters, call.now, |totals| totals.pulls_found));
    put("getMissTps", &rates(counters, call.now, |totals| totals.pulls_missed));
    put("getTotalTps", &rates(counters, call.now, |totals| totals.pulls_found + totals.pulls_missed));
    let transferred = rates(counters, call.now, |totals| totals.got);
    put("getTransferredTps", &transferred);
    // Older tools spell it so.
    put("getTransferedTps", &transferred);
    put("msgPutTotalYesterdayMorning", &counters.yesterday_morning.put);
    put("msgPutTotalTodayMorning", &counters.this_morning.put);
    put("msgPutTotalTodayNow", &sent);
    put("msgGetTotalYesterdayMorning", &counters.yesterday_morning.got);
    put("msgGetTotalTodayMorning", &counters.this_morning.got);
    put("msgGetTotalTodayNow", &counters.totals.got);

    // There are no thread pools, no timers and no locks here: nothing waits in them.
    for pool in ["send", "pull", "litePull", "query", "ack"] {
        put(&format!("{pool}ThreadPoolQueueSize"), &0);
        put(&format!("{pool}ThreadPoolQueueCapacity"), &0);
        put(&format!("{pool}ThreadPoolQueueHeadWaitTimeMills"), &0);
    }
    put("EndTransactionQueueSize", &0);
    put("EndTransactionThreadPoolQueueCapacity", &0);
    for absent in ["timerReadBehind", "timerOffsetBehind", "timerCongestNum", "dispatchBehindBytes"] {
        put(absent, &0);
    }
    put("timerLatenessMs", &broker.waiting.lateness.line());
    put("timerEnqueueTps", &"0.0");
    put("timerDequeueTps", &"0.0");
    put("pageCacheLockTimeMills", &0);
    put("startAcceptSendRequestTimeStamp", &0);
    put("remainTransientStoreBufferNumbs", &0);
    put("remainHowManyDataToFlush", &"0 B");
    put("dispatchMaxBuffer", &0);
    // Not known to the broker.
    put("earliestMessageTimeStamp", &-1);
    put("commitLogDiskRatio", &"-1.0");
    put("consumeQueueDiskRatio", &"-1.0");
    put("putMessageEntireTimeMax", &0);
    put("getMessageEntireTimeMax", &0);
    put("putLatency99", &"0.00");
    put("putLatency999", &"0.00");

    reply.json(&TextTable { table });
    Ok(Outcome::Reply)
}

/// VIEW_BROKER_STATS_DATA: none are kept by name. Tools take the answer for "nothing yet", as Apache gives it for
/// a topic that nobody has sent to.
pub fn stats<E: Env>(
    _broker: &mut Broker<E>,
    call: &Call<'_>,
    _reply: &mut Reply<'_>,
) -> Result<Outcome<E>, Refusal> {
    let (name, key) = (call.head.fields.text("statsName")?, call.head.fields.text("statsKey")?);
    Err(Refusal::NoStatistics { name: name.into(), key: key.into() })
}

/// Three numbers: over 10, 60 and 600 seconds.
fn rates(counters: &Counters, now: Now, count: impl Fn(&Totals) -> u64) -> String {
    let [short, middle, long] = counters.rates(now, count);
    format!("{short:.1} {middle:.1} {long:.1}")
}

fn days(up: Duration) -> String {
    let seconds = up.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    format!("[ {days} days, {hours} hours, {minutes} minutes, {} seconds ]", seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_up_is_told_in_days_hours_minutes_and_seconds() {
        assert_eq!(days(Duration::from_secs(93_784)), "[ 1 days, 2 hours, 3 minutes, 4 seconds ]");
    }
}
