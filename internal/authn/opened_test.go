// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package authn

import (
	"errors"
	"strconv"
	"testing"
)

// counting opens "sealed" to "secret of sealed" with the aad "good".
type counting struct{ opened int }

var errSealed = errors.New("not authentic")

func (c *counting) Open(sealed, aad []byte) ([]byte, error) {
	c.opened++
	if string(aad) != "good" {
		return nil, errSealed
	}
	return append([]byte("secret of "), sealed...), nil
}

func TestOpenedKeys(t *testing.T) {
	var o openedKeys
	s := &counting{}
	for i, c := range []struct {
		id, sealed, aad, want string
		opened                int
	}{
		{"AKIA1", "a", "good", "secret of a", 1},
		{"AKIA1", "a", "good", "secret of a", 1}, // remembered
		{"AKIA1", "b", "good", "secret of b", 2}, // made anew
		{"AKIA1", "b", "bad", "", 3},             // another user's record
		{"AKIA1", "b", "good", "secret of b", 3}, // a refusal forgets nothing
		{"AKIA2", "b", "bad", "", 4},
		{"AKIA2", "b", "bad", "", 5}, // nor is it remembered
	} {
		got, err := o.open(s, c.id, []byte(c.sealed), []byte(c.aad))
		if got.Reveal() != c.want || (err != nil) != (c.want == "") || s.opened != c.opened {
			t.Errorf("%d: %q, %v after %d openings; want %q after %d", i, got.Reveal(), err, s.opened, c.want, c.opened)
		}
	}
	for i := range 3 * maxOpened {
		if _, err := o.open(s, strconv.Itoa(i), []byte("a"), []byte("good")); err != nil {
			t.Fatal(err)
		}
	}
	if len(o.keys) > maxOpened {
		t.Errorf("%d keys are kept, at most %d", len(o.keys), maxOpened)
	}
}
