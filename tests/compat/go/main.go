// An unmodified Go client that does what it is told: one JSON order per line of standard input, one JSON
// event per line of standard output.
//
// Orders run concurrently. Every order has an id, which all of its events repeat; its last event is
// "done", or "broken" if it could not be carried out. "stop" ends a running order; the end of the input
// ends the process at once, without a shutdown of its clients.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// order is one line of input.
type order struct {
	ID       string `json:"id"`
	Do       string `json:"do"`
	Instance string `json:"instance"`
	Namesrv  string `json:"namesrv"`
	Group    string `json:"group"`
	Topic    string `json:"topic"`
	Tag      string `json:"tag"`
	Tags     string `json:"tags"`
	Sql      string `json:"sql"`
	Prefix   string `json:"prefix"`
	Property string `json:"property"`
	Way      string `json:"way"`
	Count    int    `json:"count"`
	Bytes    int    `json:"bytes"`
	Failures int32  `json:"failures"`
	Orderly  bool   `json:"orderly"`
	Retry    bool   `json:"retry"`

	stopped chan struct{}
}

type event map[string]any

var output sync.Mutex

func (o *order) emit(name string, fields event) {
	if fields == nil {
		fields = event{}
	}
	fields["id"], fields["event"] = o.ID, name
	line, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	output.Lock()
	defer output.Unlock()
	os.Stdout.Write(append(line, '\n'))
}

func main() {
	running := map[string]*order{}
	input := bufio.NewScanner(os.Stdin)
	input.Buffer(nil, 1<<20)
	for input.Scan() {
		o := &order{Count: 1, Way: "sync", Tags: "*", stopped: make(chan struct{})}
		if err := json.Unmarshal(input.Bytes(), o); err != nil {
			panic(err)
		}
		if o.Do == "stop" {
			close(running[o.ID].stopped)
			continue
		}
		if o.Group == "" {
			o.Group = "compat"
		}
		if o.Prefix == "" {
			o.Prefix = o.ID
		}
		running[o.ID] = o
		go carryOut(o)
	}
}

func carryOut(o *order) {
	var err error
	switch o.Do {
	case "send":
		err = send(o)
	case "consume":
		err = consume(o)
	default:
		err = errors.New("unknown order " + o.Do)
	}
	if err != nil {
		o.emit("broken", event{"remark": err.Error()})
		return
	}
	o.emit("done", nil)
}

// byIndex sends message i to queue i modulo the number of queues; the index is the end of the key.
type byIndex struct{}

func (byIndex) Select(m *primitive.Message, queues []*primitive.MessageQueue, _ string) *primitive.MessageQueue {
	keys := m.GetKeys()
	i, err := strconv.Atoi(keys[strings.LastIndex(keys, "-")+1:])
	if err != nil {
		panic(err)
	}
	return queues[i%len(queues)]
}

func send(o *order) error {
	options := []producer.Option{
		producer.WithNameServer(primitive.NamesrvAddr{o.Namesrv}),
		producer.WithGroupName(o.Group),
		producer.WithInstanceName(o.Instance),
		producer.WithRetry(0),
		producer.WithSendMsgTimeout(10 * time.Second),
	}
	if o.Way == "selector" {
		options = append(options, producer.WithQueueSelector(byIndex{}))
	}
	p, err := rocketmq.NewProducer(options...)
	if err != nil {
		return err
	}
	if err := p.Start(); err != nil {
		return err
	}
	defer p.Shutdown()
	messages := make([]*primitive.Message, o.Count)
	for i := range messages {
		messages[i] = message(o, i)
	}
	ctx := context.Background()
	switch o.Way {
	case "batch":
		result, err := p.SendSync(ctx, messages...)
		sent(o, -1, messages[0], result, err)
	case "async":
		var answers sync.WaitGroup
		answers.Add(len(messages))
		for i, m := range messages {
			i, m := i, m
			err := p.SendAsync(ctx, func(_ context.Context, result *primitive.SendResult, err error) {
				sent(o, i, m, result, err)
				answers.Done()
			}, m)
			if err != nil {
				sent(o, i, m, nil, err)
				answers.Done()
			}
		}
		answers.Wait()
	case "oneway":
		for i, m := range messages {
			sent(o, i, m, nil, p.SendOneWay(ctx, m))
		}
	default:
		for i, m := range messages {
			for {
				result, err := p.SendSync(ctx, m)
				sent(o, i, m, result, err)
				if err == nil || !o.Retry || o.waitsFor(200*time.Millisecond) {
					break
				}
			}
		}
	}
	return nil
}

// waitsFor waits for a moment; true if the order was stopped meanwhile.
func (o *order) waitsFor(moment time.Duration) bool {
	select {
	case <-o.stopped:
		return true
	case <-time.After(moment):
		return false
	}
}

func message(o *order, i int) *primitive.Message {
	name := fmt.Sprintf("%s-%d", o.Prefix, i)
	body := []byte(name)
	if o.Bytes > 0 {
		var text strings.Builder
		for n := 0; text.Len() < o.Bytes; n++ {
			fmt.Fprintf(&text, "%s:%d\n", name, n)
		}
		body = []byte(text.String()[:o.Bytes])
	}
	m := primitive.NewMessage(o.Topic, body).WithKeys([]string{name})
	if o.Tag != "" {
		m.WithTag(o.Tag)
	}
	if o.Property != "" {
		m.WithProperty("note", o.Property)
	}
	return m
}

func sent(o *order, i int, m *primitive.Message, result *primitive.SendResult, err error) {
	if err != nil {
		o.emit("failed", event{"i": i, "remark": err.Error()})
		return
	}
	fields := event{"i": i, "keys": strings.TrimSpace(m.GetKeys()), "bytes": len(m.Body)}
	if result != nil {
		status := "SEND_OK"
		if result.Status != primitive.SendOK {
			status = strconv.Itoa(int(result.Status))
		}
		fields["status"] = status
		fields["broker"] = result.MessageQueue.BrokerName
		fields["queueId"] = result.MessageQueue.QueueId
		fields["queueOffset"] = result.QueueOffset
		fields["msgId"] = result.MsgID
		fields["offsetMsgId"] = result.OffsetMsgID
	}
	o.emit("sent", fields)
}

func consume(o *order) error {
	c, err := rocketmq.NewPushConsumer(
		consumer.WithNameServer(primitive.NamesrvAddr{o.Namesrv}),
		consumer.WithGroupName(o.Group),
		consumer.WithInstance(o.Instance),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
		consumer.WithConsumerOrder(o.Orderly),
		consumer.WithStrategy(averagely(o)),
	)
	if err != nil {
		return err
	}
	selector := consumer.MessageSelector{Type: consumer.TAG, Expression: o.Tags}
	if o.Sql != "" {
		selector = consumer.MessageSelector{Type: consumer.SQL92, Expression: o.Sql}
	}
	err = c.Subscribe(o.Topic, selector,
		func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
			for _, m := range messages {
				if m.ReconsumeTimes < o.Failures {
					o.emit("refused", event{"keys": strings.TrimSpace(m.GetKeys()), "times": m.ReconsumeTimes,
						"at": time.Now().UnixMilli()})
					if o.Orderly {
						return consumer.SuspendCurrentQueueAMoment, nil
					}
					return consumer.ConsumeRetryLater, nil
				}
				received(o, m)
			}
			return consumer.ConsumeSuccess, nil
		})
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	o.emit("started", event{"at": time.Now().UnixMilli()})
	<-o.stopped
	return c.Shutdown()
}

// averagely is the client's own strategy, which reports what it decided for the order's topic.
func averagely(o *order) consumer.AllocateStrategy {
	return func(group, client string, all []*primitive.MessageQueue, clients []string) []*primitive.MessageQueue {
		own := consumer.AllocateByAveragely(group, client, all, clients)
		if len(all) > 0 && all[0].Topic == o.Topic {
			queues := make([]string, len(own))
			for i, queue := range own {
				queues[i] = fmt.Sprintf("%s:%d", queue.BrokerName, queue.QueueId)
			}
			o.emit("allotted", event{"queues": strings.Join(queues, " "), "at": time.Now().UnixMilli()})
		}
		return own
	}
}

func received(o *order, m *primitive.MessageExt) {
	fields := event{
		"topic": m.Topic, "broker": m.Queue.BrokerName, "queueId": m.Queue.QueueId, "queueOffset": m.QueueOffset,
		"keys": strings.TrimSpace(m.GetKeys()), "tags": m.GetTags(), "msgId": m.MsgId, "times": m.ReconsumeTimes,
		"bytes": len(m.Body), "crc": crc32.ChecksumIEEE(m.Body), "at": time.Now().UnixMilli(),
	}
	if len(m.Body) <= 256 {
		fields["body"] = string(m.Body)
	}
	o.emit("message", fields)
}
