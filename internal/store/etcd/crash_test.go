// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"podid/internal/store"
	"podid/internal/store/etcd"
	"podid/internal/store/etcdembed"
	"podid/internal/store/storetest"
)

const (
	crashDir     = "PODID_CRASH_DIR" // set: this process is the victim
	crashRounds  = 50
	crashWriters = 4
)

// TestCrash kills a writing process again and again. Each update writes two
// records and a counter; after each kill the next process says what it finds.
func TestCrash(t *testing.T) {
	rounds := crashRounds
	if s := os.Getenv("PODID_CRASH_ROUNDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < crashRounds {
			t.Fatalf("PODID_CRASH_ROUNDS=%s: want a number of at least %d", s, crashRounds)
		}
		rounds = n
	}
	dir := t.TempDir()
	acked := make([]int, crashWriters)
	for round := range rounds {
		crashRound(t, dir, round, acked)
		if t.Failed() {
			return
		}
	}
	total := 0
	for _, n := range acked {
		total += n
	}
	t.Logf("%d kills, %d acknowledged updates", rounds, total)
	if total < rounds {
		t.Errorf("only %d updates were acknowledged: the kills came too early to prove anything", total)
	}
}

// crashRound starts a victim, compares what it finds with acked, notes what
// it acknowledges and kills it at a random moment.
func crashRound(t *testing.T, dir string, round int, acked []int) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var killer *time.Timer
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var word string
		var writer, n int
		if _, err := fmt.Sscan(lines.Text(), &word, &writer, &n); err != nil {
			continue // the last line may be cut
		}
		switch word {
		case "found":
			// At most one update per writer was under way.
			if n < acked[writer] || n > acked[writer]+1 {
				t.Errorf("round %d: writer %d: %d updates were acknowledged, %d are there", round, writer, acked[writer], n)
			}
			acked[writer] = n
		case "ack":
			acked[writer] = n
			if killer == nil {
				killer = time.AfterFunc(rand.N(80*time.Millisecond), func() { _ = cmd.Process.Kill() })
			}
		}
	}
	err = cmd.Wait()
	if killer == nil || !strings.Contains(fmt.Sprint(err), "killed") {
		t.Errorf("round %d: the process ended by itself: %v\n%s", round, err, stderr.String())
	}
}

// crashChild is the victim: it checks what is there, then writes until it is
// killed.
func crashChild(dir string) int {
	err := func() error {
		m, err := etcdembed.Start(context.Background(), etcdembed.Config{Dir: dir, Log: quiet()})
		if err != nil {
			return err
		}
		db, err := etcd.Open(context.Background(), m.Client(), storetest.Schema(), options())
		if err != nil {
			return err
		}
		failed := make(chan error)
		go func() { failed <- db.Run(context.Background()) }()
		for w := range crashWriters {
			n, err := crashFound(db.View(), w)
			if err != nil {
				return err
			}
			fmt.Println("found", w, n)
			go func() { failed <- crashWrite(db, w, n) }()
		}
		return <-failed
	}()
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func crashID(writer, n int) string { return fmt.Sprintf("%d/%08d", writer, n) }

// crashFound returns how many updates of the writer are there, or an error if
// one is there by halves.
func crashFound(v *store.View, writer int) (int, error) {
	counter := 0
	if r, ok := storetest.Records.Get(v, storetest.There, strconv.Itoa(writer)); ok {
		counter = r.N
	}
	prefix := strconv.Itoa(writer) + "/"
	for name, table := range map[string]*store.Table[storetest.Record]{"first": storetest.Records, "second": storetest.Others} {
		n := 0
		for id, r := range table.List(v, storetest.Here, prefix, "") {
			if n++; id != crashID(writer, n) || r.N != n {
				return 0, fmt.Errorf("writer %d: %s record %d is %s with %d", writer, name, n, id, r.N)
			}
		}
		if n != counter {
			return 0, fmt.Errorf("writer %d: counter %d, %d %s records", writer, counter, n, name)
		}
	}
	return counter, nil
}

func crashWrite(db *etcd.DB, writer, n int) error {
	for {
		n++
		err := db.Update(context.Background(), func(tx *store.Tx) error {
			storetest.Records.Put(tx, storetest.Here, crashID(writer, n), &storetest.Record{N: n})
			storetest.Others.Put(tx, storetest.Here, crashID(writer, n), &storetest.Record{N: n})
			storetest.Records.Put(tx, storetest.There, strconv.Itoa(writer), &storetest.Record{N: n})
			return nil
		})
		if err != nil {
			return err
		}
		fmt.Println("ack", writer, n)
	}
}
