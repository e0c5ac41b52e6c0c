// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package credcache

import (
	"bytes"
	"container/heap"
	"container/list"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"podid/internal/agent/eksauthclient"
)

// entry is the credentials of one token. All fields are guarded by Cache.mu.
type entry struct {
	token  Token
	answer Answer
	// expires is the end of the credentials.
	expires time.Time
	// at is when the entry is next looked at: renewed, or dropped when its time is over.
	at time.Time
	// superseded: a younger token of the same pod was accepted; this one is served to its end but not renewed.
	superseded bool
	failures   int
	place      *list.Element // in Cache.order
	index      int           // in Cache.due, -1 when not there
}

// servable: life enough, and the token within its own time.
func (e *entry) servable(now time.Time) bool {
	return e.expires.Sub(now) > MinRemaining &&
		(e.token.Expiry.IsZero() || now.Before(e.token.Expiry)) &&
		!now.Before(e.token.NotBefore)
}

// over: the entry will never be servable again.
func (e *entry) over(now time.Time) bool { return !now.Before(e.end()) }

// end is the first moment at which the entry will never be servable again.
func (e *entry) end() time.Time {
	end := e.expires.Add(-MinRemaining)
	if !e.token.Expiry.IsZero() && e.token.Expiry.Before(end) {
		end = e.token.Expiry
	}
	return end
}

// credentialsJSON is the document of the container credential providers; the order of the keys is AWS' agent's.
type credentialsJSON struct {
	AccessKeyID     string `json:"AccessKeyId"`
	SecretAccessKey string `json:"SecretAccessKey"`
	Token           string `json:"Token"`
	AccountID       string `json:"AccountId"`
	Expiration      string `json:"Expiration"`
}

// render writes the document once, for all the requests to come. The JavaScript SDK accepts no offset but Z.
func render(s *eksauthclient.Session) (Answer, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(credentialsJSON{
		AccessKeyID:     s.AccessKeyID,
		SecretAccessKey: string(s.SecretAccessKey),
		Token:           string(s.SessionToken),
		AccountID:       s.AccountID,
		Expiration:      s.Expiration.UTC().Format(time.RFC3339),
	})
	if err != nil {
		return Answer{}, fmt.Errorf("encode credentials: %w", err)
	}
	body := bytes.Clone(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
	return Answer{Body: body, ContentLength: []string{strconv.Itoa(len(body))}}, nil
}

// put stores fresh credentials. Callers hold mu.
func (c *Cache) put(token Token, answer Answer, expires, now time.Time) {
	e, ok := c.entries[token.Raw]
	if !ok {
		e = &entry{token: token, index: -1}
		e.place = c.order.PushFront(e)
		c.entries[token.Raw] = e
		c.supersede(e)
	}
	e.answer, e.expires, e.failures = answer, expires, 0
	c.plan(e, now.Add(c.renewalAge(expires.Sub(now))))
	for len(c.entries) > c.cfg.MaxEntries {
		c.drop(c.order.Back().Value.(*entry))
		c.cfg.Observer.Evicted()
	}
}

// supersede stops the renewal of the pod's older token: kubelet has rotated it, and the pod reads the new one.
func (c *Cache) supersede(e *entry) {
	if e.token.Pod.UID == "" {
		return
	}
	old, ok := c.newest[e.token.Pod]
	if ok && old.token.Expiry.After(e.token.Expiry) {
		e.superseded = true
		return
	}
	if ok {
		old.superseded = true
		c.plan(old, old.end())
	}
	c.newest[e.token.Pod] = e
}

// plan sets when the entry is next looked at, never later than its end.
func (c *Cache) plan(e *entry, at time.Time) {
	if end := e.end(); at.After(end) || e.superseded {
		at = end
	}
	e.at = at
	if e.index < 0 {
		heap.Push(&c.due, e)
	} else {
		heap.Fix(&c.due, e.index)
	}
	if c.due[0] == e {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

// drop removes the entry. Callers hold mu.
func (c *Cache) drop(e *entry) {
	delete(c.entries, e.token.Raw)
	c.order.Remove(e.place)
	if c.newest[e.token.Pod] == e {
		delete(c.newest, e.token.Pod)
	}
	if e.index >= 0 {
		heap.Remove(&c.due, e.index)
	}
}

// schedule is a heap of entries by the time at which they are next looked at.
type schedule []*entry

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].at.Before(s[j].at) }
func (s schedule) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].index, s[j].index = i, j
}

// Push implements heap.Interface.
func (s *schedule) Push(x any) {
	e := x.(*entry)
	e.index = len(*s)
	*s = append(*s, e)
}

// Pop implements heap.Interface.
func (s *schedule) Pop() any {
	last := len(*s) - 1
	e := (*s)[last]
	(*s)[last] = nil
	*s = (*s)[:last]
	e.index = -1
	return e
}
