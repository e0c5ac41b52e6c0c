// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"
)

const (
	// loadClients is how many ask at the same time; every other one keeps its connection as long as it may.
	loadClients = 4
	// loadPatience is what AWS' SDK for Python has.
	loadPatience = 2 * time.Second
	// toldErrors is how many failures are told in full.
	toldErrors = 5
)

// A report is what a load prints: totals from its begin on. The gap is the longest time between two good answers to
// whichever client, the slowest answer that of one question.
type report struct {
	At           time.Time `json:"at"`
	Asked        int       `json:"asked"`
	Failed       int       `json:"failed"`
	FirstGood    time.Time `json:"firstGood,omitzero"`
	FirstFailure time.Time `json:"firstFailure,omitzero"`
	LastFailure  time.Time `json:"lastFailure,omitzero"`
	GapMs        int64     `json:"gapMs"`
	SlowestMs    int64     `json:"slowestMs"`
	Keys         []string  `json:"keys"` // access key ids that were handed out, in their order
	Errors       []string  `json:"errors,omitempty"`
}

// tally counts answers.
type tally struct {
	mu       sync.Mutex
	report   report
	lastGood time.Time
}

func (t *tally) count(began time.Time, key string, err error) {
	now := time.Now().UTC()
	t.mu.Lock()
	defer t.mu.Unlock()
	r := &t.report
	r.Asked++
	r.SlowestMs = max(r.SlowestMs, now.Sub(began).Milliseconds())
	if err != nil {
		if r.Failed++; r.Failed == 1 {
			r.FirstFailure = now
		}
		r.LastFailure = now
		if len(r.Errors) < toldErrors {
			r.Errors = append(r.Errors, err.Error())
		}
		return
	}
	if r.FirstGood.IsZero() {
		r.FirstGood = now
	} else {
		r.GapMs = max(r.GapMs, now.Sub(t.lastGood).Milliseconds())
	}
	t.lastGood = now
	if len(r.Keys) == 0 || r.Keys[len(r.Keys)-1] != key {
		r.Keys = append(r.Keys, key)
	}
}

// load asks where the environment says, as the SDKs are told to, every so often with each client.
func load(ctx context.Context, every string) error {
	period, err := time.ParseDuration(every)
	if err != nil {
		return err
	}
	at, err := url.Parse(os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI"))
	if err != nil || at.Host == "" {
		return errors.Join(errors.New("the environment names no agent"), err)
	}
	var counted tally
	var clients sync.WaitGroup
	for i := range loadClients {
		clients.Go(func() { (&client{at: at, keep: i%2 == 0}).askAgain(ctx, period, &counted) })
	}
	out := json.NewEncoder(os.Stdout)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		counted.mu.Lock()
		counted.report.At = time.Now().UTC()
		err := out.Encode(counted.report)
		counted.mu.Unlock()
		if err != nil {
			return err
		}
	}
	clients.Wait()
	return nil
}

// A client has no connection but its own, uses that as long as the agent does not say that it ends, and repeats no request.
type client struct {
	at   *url.URL
	keep bool
	conn net.Conn
	from *bufio.Reader
}

func (c *client) askAgain(ctx context.Context, period time.Duration, counted *tally) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		began := time.Now()
		key, err := c.ask()
		counted.count(began, key, err)
		if err != nil && c.conn != nil {
			_ = c.conn.Close() // what is left of it is worth nothing
			c.conn = nil
		}
	}
}

func (c *client) ask() (key string, err error) {
	token, err := os.ReadFile(os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"))
	if err != nil {
		return "", err
	}
	if c.conn == nil {
		address := c.at.Host
		if c.at.Port() == "" {
			address = net.JoinHostPort(c.at.Hostname(), "80")
		}
		if c.conn, err = net.DialTimeout("tcp", address, loadPatience); err != nil {
			return "", err
		}
		c.from = bufio.NewReader(c.conn)
	}
	if err := c.conn.SetDeadline(time.Now().Add(loadPatience)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(c.conn, "GET %s HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\n\r\n", c.at.RequestURI(), c.at.Host, token); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(c.from, nil)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return "", err
	}
	if resp.Close || !c.keep {
		err = c.conn.Close()
		c.conn = nil
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d: %.300s", resp.StatusCode, body)
	}
	var got struct{ AccessKeyId string } //nolint:revive // its name on the wire
	if jerr := json.Unmarshal(body, &got); jerr != nil || got.AccessKeyId == "" {
		return "", errors.Join(errors.New("the answer holds no credentials"), jerr, err)
	}
	return got.AccessKeyId, err
}
