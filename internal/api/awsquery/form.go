// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package awsquery

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"podid/internal/fault"
)

// maxParameters bounds a form: the largest legal one (50 tags, their keys and
// 50 transitive keys) has some 160.
const maxParameters = 1000

const reasonMalformed = "malformed-form"

// Form is what a request sent. Readers that find a value of the wrong form
// keep the first such error; a handler asks for it once, with Err, when it
// has read all it needs. A Form belongs to one request and one goroutine.
type Form struct {
	values map[string]string
	lists  bool   // whether any name has a dot in it, as members of lists have
	prefix string // of a list's member; "" for the whole form
	err    *error
}

// ParseForm reads a form strictly: bad percent escapes, parameters without a
// name or given twice, text that is not UTF-8 and more than 1000 parameters
// are refused, each saying which. Parameters of the signature (X-Amz-…) stay
// out of it.
func ParseForm(raw string) (*Form, error) {
	f := &Form{values: make(map[string]string, strings.Count(raw, "&")+1), err: new(error)}
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		if len(f.values) == maxParameters {
			return nil, malformed("there are more than %d parameters", maxParameters)
		}
		k, v, err := parsePair(part)
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(k, "X-Amz-") {
			continue
		}
		if _, dup := f.values[k]; dup {
			return nil, malformed("the parameter %.64q is given twice", k)
		}
		f.values[k] = v
		f.lists = f.lists || strings.Contains(k, ".")
	}
	return f, nil
}

func parsePair(part string) (key, value string, err error) {
	rawKey, rawValue, _ := strings.Cut(part, "=")
	if key, err = url.QueryUnescape(rawKey); err != nil {
		return "", "", malformed("the name of the parameter %.64q has a broken percent escape", rawKey)
	}
	if value, err = url.QueryUnescape(rawValue); err != nil {
		return "", "", malformed("the value of the parameter %.64q has a broken percent escape", key)
	}
	switch {
	case key == "":
		return "", "", malformed("a parameter has no name")
	case !utf8.ValidString(key):
		return "", "", malformed("the name of a parameter is not UTF-8")
	case !utf8.ValidString(value):
		return "", "", malformed("the value of the parameter %.64q is not UTF-8", key)
	}
	return key, value, nil
}

func malformed(format string, args ...any) *fault.Error {
	return fault.New(fault.InvalidRequest, "The request is malformed: "+format+".", args...).WithReason(reasonMalformed)
}

// Err returns the first error that a reader met.
func (f *Form) Err() error { return *f.err }

func (f *Form) fail(err error) {
	if *f.err == nil {
		*f.err = err
	}
}

// Lookup returns the scalar and whether it was sent.
func (f *Form) Lookup(name string) (string, bool) {
	v, ok := f.values[f.prefix+name]
	return v, ok
}

// String returns the scalar, "" when it was not sent.
func (f *Form) String(name string) string { return f.values[f.prefix+name] }

// Ptr returns the scalar, nil when it was not sent.
func (f *Form) Ptr(name string) *string {
	if v, ok := f.Lookup(name); ok {
		return &v
	}
	return nil
}

// Int32 returns the number, nil when it was not sent.
func (f *Form) Int32(name string) *int32 {
	v, ok := f.Lookup(name)
	if !ok {
		return nil
	}
	n, err := strconv.ParseInt(v, 10, 32)
	if err != nil {
		f.fail(malformed("the parameter %.64q is no 32-bit number", f.prefix+name))
		return nil
	}
	i := int32(n)
	return &i
}

// Bool returns the truth value, nil when it was not sent.
func (f *Form) Bool(name string) *bool {
	v, ok := f.Lookup(name)
	if !ok {
		return nil
	}
	switch strings.ToLower(v) {
	case "true":
		return new(true)
	case "false":
		return new(false)
	}
	f.fail(malformed("the parameter %.64q must be true or false", f.prefix+name))
	return nil
}

// Strings returns the list name.member.1, name.member.2, …; nil when it was
// not sent. A parameter of the bare name without value is the empty list, as
// SDKs write it.
func (f *Form) Strings(name string) []string {
	n, sent := f.members(name)
	if !sent {
		return nil
	}
	out := make([]string, n)
	for i := range out {
		key := f.prefix + name + ".member." + strconv.Itoa(i+1)
		v, ok := f.values[key]
		if !ok {
			f.fail(malformed("%.64q is a structure where a value was expected", key))
			return nil
		}
		out[i] = v
	}
	return out
}

// List returns the structures of the list name.member.1.…, to be read with
// their own member names.
func (f *Form) List(name string) []*Form {
	n, sent := f.members(name)
	if !sent {
		return nil
	}
	out := make([]*Form, n)
	for i := range out {
		key := f.prefix + name + ".member." + strconv.Itoa(i+1)
		if _, scalar := f.values[key]; scalar {
			f.fail(malformed("%.64q is a value where a structure was expected", key))
			return nil
		}
		out[i] = &Form{values: f.values, lists: true, prefix: key + ".", err: f.err}
	}
	return out
}

// members returns how many members the list has. Indexes start at 1 and leave
// no gap.
func (f *Form) members(name string) (n int, sent bool) {
	base := f.prefix + name
	if v, ok := f.values[base]; ok {
		if v != "" {
			f.fail(malformed("the parameter %.64q is a list: its members are %.64s.member.1 and so on", base, base))
		}
		sent = true
	}
	if !f.lists {
		return 0, sent
	}
	seen := map[int]bool{}
	for k := range f.values {
		rest, ok := strings.CutPrefix(k, base+".")
		if !ok {
			continue
		}
		rest, ok = strings.CutPrefix(rest, "member.")
		index, _, _ := strings.Cut(rest, ".")
		i, err := strconv.Atoi(index)
		if !ok || err != nil || i < 1 || i > maxParameters || strconv.Itoa(i) != index {
			f.fail(malformed("the parameter %.128q is no list member: indexes are numbers from 1", k))
			return 0, sent
		}
		seen[i] = true
	}
	for i := range len(seen) {
		if !seen[i+1] {
			f.fail(malformed("the list %.64q has no member %d", base, i+1))
			return 0, true
		}
	}
	return len(seen), sent || len(seen) > 0
}

// Parameters returns the scalars for the audit record: those named in hidden
// are replaced by mark. Actions and versions stay out, as in CloudTrail.
func (f *Form) Parameters(mark string, hidden ...string) map[string]string {
	out := make(map[string]string, len(f.values))
	for k, v := range f.values {
		switch {
		case k == "Action" || k == "Version":
			continue
		case slices.Contains(hidden, k):
			v = mark
		}
		out[lowerFirst(k)] = v
	}
	return out
}

// lowerFirst turns a member name into CloudTrail's form: roleName.
func lowerFirst(s string) string {
	if s == "" || s[0] < 'A' || s[0] > 'Z' {
		return s
	}
	return string(s[0]+'a'-'A') + s[1:]
}
