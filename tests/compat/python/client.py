"""An unmodified Python client (the C++ 2.x library inside) that does what it is told.

One JSON order per line of standard input, one JSON event per line of standard output. Orders run
concurrently. Every order has an id, which all of its events repeat; its last event is "done", or "broken"
if it could not be carried out. "stop" ends a running order; the end of the input ends the process at
once, without a shutdown of its clients.
"""

import json
import os
import sys
import threading
import time
import zlib

from rocketmq.client import Message, Producer, PushConsumer
from rocketmq.exceptions import RocketMQException
from rocketmq.ffi import dll

# The C++ library prints to standard output itself; the events get a descriptor that it does not know.
EVENTS = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)
EVENTS_LOCK = threading.Lock()


class Order:
    """One line of input."""

    def __init__(self, fields):
        self.id = fields["id"]
        self.fields = fields
        self.stopped = threading.Event()

    def get(self, name, otherwise=None):
        return self.fields.get(name, otherwise)

    def emit(self, event, **fields):
        line = json.dumps({"id": self.id, "event": event, **fields}, ensure_ascii=False)
        with EVENTS_LOCK:
            EVENTS.write(line + "\n")
            EVENTS.flush()


def name_of(order, i):
    return "%s-%d" % (order.get("prefix", order.id), i)


def body_of(order, i):
    size = order.get("bytes", 0)
    if not size:
        return name_of(order, i).encode()
    parts, length, n = [], 0, 0
    while length < size:
        parts.append(("%s:%d\n" % (name_of(order, i), n)).encode())
        length += len(parts[-1])
        n += 1
    return b"".join(parts)[:size]


def message(order, i):
    made = Message(order.get("topic"))
    made.set_keys(name_of(order, i))
    if order.get("tag"):
        made.set_tags(order.get("tag"))
    if order.get("property"):
        made.set_property("note", order.get("property"))
    made.set_body(body_of(order, i))
    return made


def send(order):
    producer = Producer(order.get("group", "compat"), timeout=10000)
    producer.set_namesrv_addr(order.get("namesrv"))
    dll.SetProducerInstanceName(producer._handle, order.get("instance").encode())
    producer.start()
    # The library heartbeats all brokers 10 ms after its start. A send that needs a connection at that very
    # moment fails without ever being sent, because the library only tries to lock its connections.
    order.stopped.wait(0.2)
    way, count = order.get("way", "sync"), order.get("count", 1)
    if way == "batch":
        report(order, -1, lambda: producer.send_batch([message(order, i) for i in range(count)]))
    elif way == "async":
        send_async(order, producer, count)
    else:
        one = {
            "sync": lambda i: producer.send_sync(message(order, i)),
            "selector": lambda i: producer.send_orderly(message(order, i), i, retry_times=0),
            "oneway": lambda i: producer.send_oneway(message(order, i)),
        }[way]
        for i in range(count):
            while not report(order, i, lambda: one(i)) and order.get("retry") and not order.stopped.wait(0.2):
                pass
    producer.shutdown()


def send_async(order, producer, count):
    answers = threading.Semaphore(0)
    # The library reads a message until it has been answered, so all of them are kept until then.
    messages = [message(order, i) for i in range(count)]
    for i, made in enumerate(messages):

        def accepted(result, i=i):
            sent(order, i, result)
            answers.release()

        def refused(error, i=i):
            order.emit("failed", i=i, remark=str(error))
            answers.release()

        producer.send_async(made, accepted, refused)
    for _ in messages:
        answers.acquire()


def report(order, i, call):
    try:
        sent(order, i, call())
        return True
    except RocketMQException as error:
        order.emit("failed", i=i, remark=str(error))
        return False


def sent(order, i, result):
    body = body_of(order, max(i, 0))
    fields = {"i": i, "keys": name_of(order, max(i, 0)), "bytes": len(body), "crc": zlib.crc32(body)}
    if result is not None:
        status = "SEND_OK" if result.status == 0 else result.status.name
        fields.update(status=status, msgId=result.msg_id, queueOffset=result.offset)
    order.emit("sent", **fields)


def consume(order):
    consumer = PushConsumer(order.get("group"), orderly=order.get("orderly", False))
    consumer.set_namesrv_addr(order.get("namesrv"))
    consumer.set_instance_name(order.get("instance"))
    consumer.set_thread_count(4)

    def received(got):
        keys = text(got.keys)
        if got.reconsume_times < order.get("failures", 0):
            order.emit("refused", keys=keys, times=got.reconsume_times, at=int(time.time() * 1000))
            raise Refused()
        body = got.body
        fields = {"body": text(body)} if len(body) <= 256 else {}
        order.emit(
            "message",
            topic=got.topic,
            queueId=got.queue_id,
            queueOffset=got.queue_offset,
            keys=keys,
            tags=text(got.tags),
            msgId=got.id,
            times=got.reconsume_times,
            bytes=len(body),
            crc=zlib.crc32(body),
            at=int(time.time() * 1000),
            **fields
        )

    consumer.subscribe(order.get("topic"), received, expression=order.get("tags", "*"))
    consumer.start()
    order.emit("started")
    order.stopped.wait()
    consumer.shutdown()


class Refused(Exception):
    """The listener's wish to get a message again later."""


def text(value):
    return value.decode("utf-8") if value is not None else None


def carry_out(order):
    try:
        {"send": send, "consume": consume}[order.get("do")](order)
        order.emit("done")
    except Exception as error:  # noqa: BLE001: whatever it was, the harness must hear of it
        order.emit("broken", remark="%s: %s" % (type(error).__name__, error))


def main():
    running = {}
    for line in sys.stdin:
        fields = json.loads(line)
        if fields["do"] == "stop":
            running[fields["id"]].stopped.set()
            continue
        order = running[fields["id"]] = Order(fields)
        threading.Thread(target=carry_out, args=(order,), daemon=True).start()
    # The interpreter's own end would shut the clients down.
    os._exit(0)


main()
