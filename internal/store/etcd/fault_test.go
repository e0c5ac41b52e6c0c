// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"podid/internal/store"
	"podid/internal/store/etcd"
	"podid/internal/store/etcdembed"
	"podid/internal/store/storetest"
)

// cutter is a dialer whose connections can be cut.
type cutter struct {
	member *etcdembed.Member
	mu     sync.Mutex
	down   bool
	conns  []net.Conn
}

func (c *cutter) dial(ctx context.Context, _ string) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down {
		return nil, errors.New("the line is cut")
	}
	conn, err := c.member.Dial(ctx)
	if err == nil {
		c.conns = append(c.conns, conn)
	}
	return conn, err
}

func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = true
	for _, conn := range c.conns {
		_ = conn.Close() // may be closed already
	}
	c.conns = nil
}

func (c *cutter) heal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = false
}

// client is one of a member, over the line.
func (c *cutter) client(t *testing.T) *clientv3.Client {
	t.Helper()
	client, err := c.member.NewClient(grpc.WithContextDialer(c.dial), grpc.WithConnectParams(grpc.ConnectParams{
		Backoff: backoff.Config{BaseDelay: 5 * time.Millisecond, Multiplier: 1.5, MaxDelay: 50 * time.Millisecond},
	}))
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, client)
	return client
}

// frail opens a store over a line that can be cut.
func frail(t *testing.T, m *etcdembed.Member, timeout time.Duration) (*etcd.DB, *cutter) {
	t.Helper()
	c := &cutter{member: m}
	opts := options()
	opts.Timeout = timeout
	return openDB(t, c.client(t), opts), c
}

func write(s store.Store, id, color string) error {
	return s.Update(context.Background(), func(tx *store.Tx) error {
		storetest.Records.Put(tx, storetest.Here, id, &storetest.Record{Name: id, Color: color})
		return nil
	})
}

func mustWrite(t *testing.T, s store.Store, id, color string) {
	t.Helper()
	if err := write(s, id, color); err != nil {
		t.Fatalf("write %s: %v", id, err)
	}
}

func has(s store.Store, id string) bool {
	_, ok := storetest.Records.Get(s.View(), storetest.Here, id)
	return ok
}

func TestCutUnderLoad(t *testing.T) {
	m := startMember(t, t.TempDir())
	db, line := frail(t, m, 200*time.Millisecond)
	healthy := openDB(t, m.Client(), options())

	const writers = 4
	outcome := make([]map[string]error, writers)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var acks atomic.Int64
	for w := range writers {
		outcome[w] = map[string]error{}
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				id := fmt.Sprintf("%d-%06d", w, i)
				err := write(db, id, "red")
				if outcome[w][id] = err; err == nil {
					acks.Add(1)
				}
			}
		})
	}
	for round := range 5 {
		marker := fmt.Sprintf("round-%d", round)
		storetest.Eventually(t, "writes after the line was healed", func() bool {
			return write(db, marker, "blue") == nil && acks.Load() >= int64(100*(round+1))
		})
		line.cut()
		if !has(db, marker) {
			t.Errorf("round %d: the view lost a record with the line", round)
		}
		if _, err := db.Fence(t.Context()); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("round %d: Fence over a cut line: %v", round, err)
		}
		line.heal()
	}
	storetest.Eventually(t, "the last write", func() bool { return write(db, "end", "blue") == nil })
	close(stop)
	wg.Wait()

	compareOutcome(t, healthy, outcome)
}

// compareOutcome compares what writers were told with what is there.
func compareOutcome(t *testing.T, healthy store.Store, outcome []map[string]error) {
	t.Helper()
	v, err := healthy.Fence(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var acked, away, unknown int
	for _, ids := range outcome {
		for id, err := range ids {
			_, there := storetest.Records.Get(v, storetest.Here, id)
			switch {
			case err == nil && !there:
				t.Errorf("%s was acknowledged and is lost", id)
			case err == nil:
				acked++
			case errors.Is(err, store.ErrUnknown):
				unknown++
			case errors.Is(err, store.ErrUnavailable):
				if away++; there {
					t.Errorf("%s was refused (%v) and is there", id, err)
				}
			default:
				t.Errorf("%s: %v", id, err)
			}
		}
	}
	t.Logf("%d acknowledged, %d refused, %d unknown", acked, away, unknown)
}

func TestWatchResumes(t *testing.T) {
	m := startMember(t, t.TempDir())
	db, line := frail(t, m, time.Second)
	other := openDB(t, m.Client(), options())
	mustWrite(t, db, "before", "red")
	line.cut()
	mustWrite(t, other, "during", "red")
	if has(db, "during") {
		t.Error("a cut line carried an event")
	}
	line.heal()
	storetest.Eventually(t, "the event missed", func() bool { return has(db, "during") })
	if !has(db, "before") {
		t.Error("the view lost what it had")
	}
}

func TestCompactedWhileAway(t *testing.T) {
	m := startMember(t, t.TempDir())
	db, line := frail(t, m, time.Second)
	other := openDB(t, m.Client(), options())
	for _, id := range []string{"kept", "changed", "deleted"} {
		mustWrite(t, db, id, "red")
	}
	kept, _ := storetest.Records.Get(db.View(), storetest.Here, "kept")
	line.cut()
	mustWrite(t, other, "changed", "blue")
	mustWrite(t, other, "new", "blue")
	if err := other.Update(t.Context(), func(tx *store.Tx) error {
		storetest.Records.Delete(tx, storetest.Here, "deleted")
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Client().Compact(t.Context(), other.View().Revision(), clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	line.heal()
	storetest.Eventually(t, "the reload", func() bool { return has(db, "new") })
	if has(db, "deleted") {
		t.Error("a deleted record came through the reload")
	}
	if r, _ := storetest.Records.Get(db.View(), storetest.Here, "changed"); r == nil || r.Color != "blue" {
		t.Errorf("changed is %+v", r)
	}
	if r, _ := storetest.Records.Get(db.View(), storetest.Here, "kept"); r != kept {
		t.Error("an unchanged record was decoded anew")
	}
	if _, _, ok := storetest.Records.FindIndex(db.View(), storetest.Here, "red"); !ok {
		t.Error("the index lost an unchanged record")
	}
	mustWrite(t, db, "after", "red")
	mustWrite(t, other, "after-other", "red")
	storetest.Eventually(t, "an event after the reload", func() bool { return has(db, "after-other") })
}

// lostAnswer is a KV whose next commits lose their answers.
type lostAnswer struct {
	clientv3.KV
	lose chan bool // true: after the commit, false: before it
}

type lostTxn struct {
	clientv3.Txn
	kv *lostAnswer
}

func (k *lostAnswer) Txn(ctx context.Context) clientv3.Txn { return &lostTxn{k.KV.Txn(ctx), k} }

func (x *lostTxn) If(c ...clientv3.Cmp) clientv3.Txn  { x.Txn = x.Txn.If(c...); return x }
func (x *lostTxn) Then(o ...clientv3.Op) clientv3.Txn { x.Txn = x.Txn.Then(o...); return x }
func (x *lostTxn) Else(o ...clientv3.Op) clientv3.Txn { x.Txn = x.Txn.Else(o...); return x }

func (x *lostTxn) Commit() (*clientv3.TxnResponse, error) {
	lost := status.Error(codes.Unavailable, "the answer is lost")
	select {
	case after := <-x.kv.lose:
		if !after {
			return nil, lost
		}
		if _, err := x.Txn.Commit(); err != nil {
			return nil, err
		}
		return nil, lost
	default:
		return x.Txn.Commit()
	}
}

func TestLostAnswer(t *testing.T) {
	m := startMember(t, t.TempDir())
	client := newClient(t, m)
	kv := &lostAnswer{client.KV, make(chan bool, 1)}
	client.KV = kv
	db := openDB(t, client, options())

	kv.lose <- true
	mustWrite(t, db, "committed", "red")
	if !has(db, "committed") {
		t.Error("a commit that was recognised is not in the view")
	}
	kv.lose <- false
	if err := write(db, "never", "red"); !errors.Is(err, store.ErrUnknown) {
		t.Errorf("a request that got lost: %v", err)
	}
	mustWrite(t, db, "never", "blue")
}

func TestOutOfReach(t *testing.T) {
	m := startMember(t, t.TempDir())
	db, line := frail(t, m, 100*time.Millisecond)
	mustWrite(t, db, "a", "red")
	line.cut()
	defer line.heal()
	storetest.Eventually(t, "the client to notice", func() bool {
		return errors.Is(write(db, "b", "red"), store.ErrUnavailable)
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := db.Fence(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Fence of an ended caller: %v", err)
	}
	if !has(db, "a") {
		t.Error("the view is gone")
	}
	_, err := etcd.Open(ctx, m.Client(), storetest.Schema(), options())
	if err == nil || !strings.Contains(err.Error(), "canceled") {
		t.Errorf("Open with an ended context: %v", err)
	}
}

// TestAloneEtcdAway: its fence has all that was acknowledged, whatever becomes
// of etcd; Ping tells, and so does the fence once nobody follows the store.
func TestAloneEtcdAway(t *testing.T) {
	m := startMember(t, t.TempDir())
	line := &cutter{member: m}
	opts := options()
	opts.Alone, opts.Timeout = true, time.Second
	db := openDB(t, line.client(t), opts)
	if err := db.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := write(db, "a", "red"); err != nil {
		t.Fatal(err)
	}
	line.cut()
	v, err := db.Fence(t.Context())
	if r, ok := storetest.Records.Get(v, storetest.Here, "a"); err != nil || !ok || r.Color != "red" {
		t.Errorf("%+v %v", r, err)
	}
	if err := db.Ping(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("ping: %v", err)
	}
	ended, stop := context.WithCancel(t.Context())
	stop()
	line.heal()
	idle, err := etcd.Open(t.Context(), m.Client(), storetest.Schema(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := idle.Run(ended); err != nil {
		t.Errorf("run: %v", err)
	}
	if _, err := idle.Fence(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("fence of one that follows nothing: %v", err)
	}
}
