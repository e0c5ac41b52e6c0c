// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// folder is a short path, as the names of Unix sockets have to be.
func folder(t *testing.T, on string) string {
	t.Helper()
	dir, err := os.MkdirTemp(on, "podid")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func list(records ...string) iter.Seq[any] {
	return func(yield func(any) bool) {
		for _, r := range records {
			if !yield(r) {
				return
			}
		}
	}
}

func listen(t *testing.T) *net.TCPListener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.(*net.TCPListener)
}

// keep collects records as JSON.
type keep struct{ got []string }

func (k *keep) record(text []byte) error {
	var s string
	err := json.Unmarshal(text, &s)
	k.got = append(k.got, s)
	return err
}

type served struct {
	s   *Successor
	err error
}

// offer serves at the folder until the test ends or somebody has taken over.
func offer(t *testing.T, dir string, p Parcel, records iter.Seq[any], log io.Writer) (*Offer, <-chan served) {
	t.Helper()
	o, err := Listen(dir, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	out, ended := make(chan served, 1), make(chan struct{})
	go func() {
		defer close(ended)
		s, err := o.Serve(ctx, func() (Parcel, iter.Seq[any]) { return p, records })
		out <- served{s, err}
	}()
	t.Cleanup(func() { cancel(); <-ended; _ = o.Close() })
	return o, out
}

func TestHandOver(t *testing.T) {
	dir := filepath.Join(folder(t, ""), "run")
	if _, _, err := Ask(t.Context(), dir, nil); !errors.Is(err, ErrNobody) {
		t.Fatalf("nobody there: %v", err)
	}
	four, six := listen(t), listen(t)
	records := []string{"one", strings.Repeat("x", 100_000), "three"}
	given := Parcel{Cluster: "c", Key: []byte("key"), FeedUID: "u", FeedRevision: 7, Sockets: map[string]*net.TCPListener{"a": four, "b": six}}
	o, out := offer(t, dir, given, list(records...), io.Discard)

	// One that asks and goes away changes nothing.
	var k keep
	p, tie, err := Ask(t.Context(), dir, k.record)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.close(), tie.Close()); err != nil {
		t.Fatal(err)
	}

	k = keep{}
	if p, tie, err = Ask(t.Context(), dir, k.record); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(records, k.got); d != "" || p.Cluster != "c" || string(p.Key) != "key" || p.FeedUID != "u" || p.FeedRevision != 7 {
		t.Errorf("%s %+v", d, p)
	}
	if p.Sockets["a"].Addr().String() != four.Addr().String() || p.Sockets["b"].Addr().String() != six.Addr().String() || len(p.Sockets) != 2 {
		t.Errorf("sockets %v", p.Sockets)
	}
	if err := tie.Taken(); err != nil {
		t.Fatal(err)
	}
	got := <-out
	if got.s == nil || got.err != nil {
		t.Fatalf("%+v", got)
	}
	// The socket lives on in the successor, and connections that nobody had accepted with it.
	conn, err := net.Dial("tcp", four.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // a test
	if err := errors.Join(four.Close(), six.Close(), o.Close()); err != nil {
		t.Fatal(err)
	}
	accepted, err := p.Sockets["a"].Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = accepted.Close()
	lost := make(chan bool)
	go func() { lost <- got.s.Lost(t.Context()) }()
	if err := errors.Join(tie.Close(), p.close()); err != nil {
		t.Fatal(err)
	}
	if !<-lost {
		t.Error("the end of the successor was not noticed")
	}
	if _, _, err := Ask(t.Context(), dir, nil); !errors.Is(err, ErrNobody) {
		t.Errorf("after the end: %v", err)
	}
}

func TestLostEndsWithContext(t *testing.T) {
	dir := folder(t, "")
	o, out := offer(t, dir, Parcel{Sockets: map[string]*net.TCPListener{"a": listen(t)}}, list(), io.Discard)
	defer o.Close() //nolint:errcheck // a test
	p, tie, err := Ask(t.Context(), dir, func([]byte) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()   //nolint:errcheck // a test
	defer tie.Close() //nolint:errcheck // a test
	if err := tie.Taken(); err != nil {
		t.Fatal(err)
	}
	got := <-out
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got.s.Lost(ctx) {
		t.Error("lost although it was this process that ended")
	}
}

func TestFolder(t *testing.T) {
	dir := folder(t, "")
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Folder(dir); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", info, err)
	}
	link, file := filepath.Join(dir, "link"), filepath.Join(dir, "file")
	if err := errors.Join(os.Symlink(dir, link), os.WriteFile(file, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{link, file} {
		if err := Folder(path); err == nil {
			t.Errorf("%s is accepted", path)
		}
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, 12345, 0); err != nil {
			t.Fatal(err)
		}
		if err := Folder(dir); err == nil || !strings.Contains(err.Error(), "another user") {
			t.Errorf("another user's: %v", err)
		}
	}
}

// TestVersions: who speaks another version is told, and the process that serves goes on.
func TestVersions(t *testing.T) {
	dir := folder(t, "")
	var log bytes.Buffer
	_, out := offer(t, dir, Parcel{Sockets: map[string]*net.TCPListener{"a": listen(t)}}, list(), &log)
	say := func(text string) string {
		conn, err := net.Dial("unix", filepath.Join(dir, nameHere("agent", "sock")))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close() //nolint:errcheck // a test
		if err := writeFrame(conn, []byte(text)); err != nil {
			t.Fatal(err)
		}
		answer, _ := readFrame(conn)
		return string(answer)
	}
	if got := say(`{"version":2}`); !strings.Contains(got, "version 2 is not known here") {
		t.Errorf("answer %s", got)
	}
	_ = say(`garbage`)
	p, tie, err := Ask(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(tie.Taken(), p.close()); err != nil {
		t.Error(err)
	}
	defer tie.Close() //nolint:errcheck // a test
	if got := <-out; got.s == nil {
		t.Error(got.err)
	} else {
		defer got.s.conn.Close() //nolint:errcheck // a test
	}
	if n := strings.Count(log.String(), "came to nothing"); n != 2 {
		t.Errorf("log: %s", log.String())
	}
}

func TestReadParcelRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON": "x", "another version": `{"version":2}`, "refusal": `{"version":1,"error":"no"}`, "sockets that did not come": `{"version":1,"sockets":["a"]}`,
	} {
		var b bytes.Buffer
		if err := writeFrame(&b, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if _, err := readParcel(&b, nil); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := readFrame(bytes.NewReader(binary.BigEndian.AppendUint32(nil, maxFrame+1))); err == nil {
		t.Error("a message beyond the bound is read")
	}
}

// memory are two folders on memory; where the machine has none that may be used the state cannot be kept at all.
func memory(t *testing.T) (state, key string) {
	t.Helper()
	const on = "/dev/shm"
	if ok, err := onMemory(on); !ok {
		t.Fatalf("%s is not on memory: %v", on, err)
	}
	return folder(t, on), folder(t, on)
}

func TestState(t *testing.T) {
	dir, keys := memory(t)
	s, err := OpenState(dir, keys)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	for range 2 {
		if err := s.Save(Parcel{Cluster: "c", FeedUID: "u", FeedRevision: 7}, list("hush-1", "hush-2")); err != nil {
			t.Fatal(err)
		}
	}
	again, err := OpenState(dir, keys)
	if err != nil {
		t.Fatal(err)
	}
	var k keep
	p, err := again.Load(k.record)
	if d := cmp.Diff([]string{"hush-1", "hush-2"}, k.got); err != nil || d != "" || p.Cluster != "c" || p.FeedUID != "u" || p.FeedRevision != 7 {
		t.Errorf("%s %+v %v", d, p, err)
	}
	path := filepath.Join(dir, stateName)
	text, err := os.ReadFile(path)
	if err != nil || bytes.Contains(text, []byte("hush")) {
		t.Errorf("the file is readable: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	// Any byte that differs, and any that is missing, and the file is as none.
	for i := range len(text) {
		other := slices.Clone(text)
		other[i] ^= 1
		for what, bad := range map[string][]byte{"changed": other, "cut": text[:i]} {
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			k = keep{}
			if _, err := again.Load(k.record); err == nil || len(k.got) > 0 {
				t.Fatalf("%s at %d: %v, %d records", what, i, err, len(k.got))
			}
		}
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(keys, nameHere("state", "key"))); err != nil {
		t.Fatal(err)
	}
	other, err := OpenState(dir, keys)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Load(k.record); !errors.Is(err, errState) {
		t.Errorf("with another key: %v", err)
	}
	if err := errors.Join(s.Remove(), s.Remove()); err != nil {
		t.Error(err)
	}
}

func TestStateOnMemoryOnly(t *testing.T) {
	dir, keys := memory(t)
	if _, err := OpenState(dir, dir); err == nil {
		t.Error("key and state in one folder")
	}
	disk := folder(t, ".")
	if ok, err := onMemory(disk); ok || err != nil {
		t.Fatalf("the sources are on memory: %v", err)
	}
	for _, f := range [][2]string{{disk, keys}, {dir, disk}} {
		if _, err := OpenState(f[0], f[1]); err == nil || !strings.Contains(err.Error(), "not on memory") {
			t.Errorf("%v: %v", f, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	var good bytes.Buffer
	_ = writeFrame(&good, []byte(`{"version":1,"sockets":[]}`))
	_ = writeFrame(&good, []byte(`"r"`))
	_ = writeFrame(&good, nil)
	f.Add(good.Bytes())
	f.Add([]byte{0, 0, 0, 9, '{'})
	f.Fuzz(func(_ *testing.T, text []byte) {
		from := bytes.NewReader(text)
		if _, err := readParcel(from, nil); err == nil {
			_ = readRecords(from, func([]byte) error { return nil })
		}
	})
}

func FuzzOpenState(f *testing.F) {
	s := &State{key: make([]byte, keyBytes)}
	f.Add([]byte(stateMark + "0123456789abcdef\x00\x00\x00\x01x"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, records, err := s.open(text); err == nil {
			t.Error("made-up state is accepted:", len(records))
		}
	})
}

func TestNameHere(t *testing.T) {
	if name := nameHere("agent", "sock"); !strings.HasPrefix(name, "agent-4") || !strings.HasSuffix(name, ".sock") {
		t.Errorf("name %s", name)
	}
}
