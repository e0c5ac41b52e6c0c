// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package credcache

import (
	"container/list"
	"crypto/sha256"
	"encoding/json"
	"strconv"
	"time"

	"podid/internal/agent/eksauthclient"
	"podid/internal/compactjson"
)

// key is whom an entry or a call belongs to: a pod, or a token that is not proven to be any pod's.
type key struct {
	pod   Pod
	token [sha256.Size]byte
}

// keyOf is the key under which a token's outcome belongs.
func keyOf(t *Token, accepted bool) key {
	if t.Pod.UID != "" && (t.Proven || accepted) {
		return key{pod: t.Pod}
	}
	return key{token: sha256.Sum256([]byte(t.Raw))}
}

// entry is what is kept of one pod: its credentials, or why it has none. All fields are guarded by Cache.mu.
type entry struct {
	key key
	// token is the pod's youngest; renewals show it.
	token Token
	known []*knownToken
	// proven: a token of the pod was verified on this node, so that credentials outlive the tokens they came by.
	proven bool

	answer           Answer
	fetched, expires time.Time // of the credentials; zero when there are none
	association      string
	refusal          error // repeated to the pod until refusedUntil
	refusedUntil     time.Time
	failures         int

	bucket bucket
	size   int64 // as counted in table.bytes
	weak   bool  // in table.weak, not in table.live
	place  *list.Element

	urgent  bool      // the association has changed: this one is renewed before those whose time has come
	renewAt time.Time // when the renewal is due, whether or not there is a token for it
	at      time.Time // when the entry is next looked at: renewed, or dropped when its time is over
	turn    seat      // in Cache.due or Cache.ready
	ending  seat      // in table.ends
}

func (e *entry) granted() bool { return !e.expires.IsZero() }

// alive: there are credentials, and they have not ended.
func (e *entry) alive(now time.Time) bool { return e.granted() && e.expires.Sub(now) >= lastSecond }

// fresh: alive, with time to spare.
func (e *entry) fresh(now time.Time) bool { return e.granted() && e.expires.Sub(now) > MinRemaining }

// settled answers without a call upstream, if that can be done now.
func (e *entry) settled(now time.Time) (Answer, bool, error) {
	switch {
	case e.fresh(now):
		return e.answer, true, nil
	case e.refusal == nil || !now.Before(e.refusedUntil):
		return Answer{}, false, nil
	case e.alive(now):
		return e.answer, true, nil
	}
	return Answer{}, true, e.refusal
}

// end is the first moment at which the entry is of no use. Without proof on this node, credentials are served to the
// tokens that EKS Auth has accepted, and end with them.
func (e *entry) end() time.Time {
	if !e.granted() {
		return e.refusedUntil
	}
	if !e.proven && !e.token.Expiry.IsZero() && e.token.Expiry.Before(e.expires) {
		return e.token.Expiry
	}
	return e.expires
}

// revoke takes the credentials away.
func (e *entry) revoke() {
	e.answer, e.fetched, e.expires, e.association = Answer{}, time.Time{}, time.Time{}, ""
}

// render writes the document of the container credential providers once, for all the requests to come; the order of the
// keys is AWS' agent's. The JavaScript SDK accepts no offset but Z.
func render(s *eksauthclient.Session) Answer {
	b := make([]byte, 0, 104+len(s.AccessKeyID)+len(s.SecretAccessKey)+len(s.SessionToken)+len(s.AccountID))
	b = appendString(append(b, `{"AccessKeyId":`...), s.AccessKeyID)
	b = appendString(append(b, `,"SecretAccessKey":`...), string(s.SecretAccessKey))
	b = appendString(append(b, `,"Token":`...), string(s.SessionToken))
	b = appendString(append(b, `,"AccountId":`...), s.AccountID)
	b = append(append(b, `,"Expiration":"`...), s.Expiration.UTC().Format(time.RFC3339)...)
	b = append(b, `"}`...)
	return Answer{Body: b, ContentLength: []string{strconv.Itoa(len(b))}}
}

// appendString appends a JSON string.
func appendString(b []byte, v string) []byte {
	if !compactjson.IsPlain(v) { // never yet: keys and tokens are letters, digits and a few signs
		quoted, _ := json.Marshal(v) // no string fails
		return append(b, quoted...)
	}
	b = append(b, '"')
	b = append(b, v...)
	return append(b, '"')
}

// bucket lets one pod make so many requests a second, and so many at once.
type bucket struct {
	spent float64 // requests that have not been paid off by time
	at    time.Time
}

// take counts one request; false, with the time until one more is let through, when there are too many.
func (b *bucket) take(now time.Time, rate, burst float64) (time.Duration, bool) {
	if gone := now.Sub(b.at).Seconds(); gone > 0 {
		b.spent, b.at = max(b.spent-gone*rate, 0), now
	}
	if b.spent+1 > burst {
		return time.Duration((b.spent + 1 - burst) / rate * float64(time.Second)), false
	}
	b.spent++
	return 0, true
}
