// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"podid/internal/compactjson"
)

// appender is a request parameter that writes its own JSON, the same that
// encoding/json makes of it.
type appender interface{ AppendJSON(b []byte) []byte }

// line builds the JSON of one event by hand: what encoding/json makes of
// Event without escaping HTML, to the byte, at a fifth of its cost. Every
// exchange writes one, so this is the hot path. err is the first failure.
type line struct {
	b   []byte
	err error
}

// appendLine appends the event and a newline.
func appendLine(b []byte, e *Event) ([]byte, error) {
	l := &line{b: b}
	l.raw(`{"eventVersion":`).str(e.EventVersion)
	l.raw(`,"userIdentity":`).identity(&e.UserIdentity)
	l.raw(`,"eventTime":`).time(e.EventTime)
	l.raw(`,"eventSource":`).str(e.EventSource)
	l.raw(`,"eventName":`).str(e.EventName)
	l.raw(`,"awsRegion":`).str(e.AWSRegion)
	l.raw(`,"sourceIPAddress":`).str(e.SourceIPAddress)
	l.optional(`,"userAgent":`, e.UserAgent)
	l.optional(`,"errorCode":`, e.ErrorCode)
	l.optional(`,"errorMessage":`, e.ErrorMessage)
	l.raw(`,"requestParameters":`).any(e.RequestParameters)
	l.raw(`,"responseElements":`).any(e.ResponseElements)
	l.raw(`,"requestID":`).str(e.RequestID)
	l.raw(`,"eventID":`).str(e.EventID)
	l.raw(`,"readOnly":`).bool(e.ReadOnly)
	l.resources(e.Resources)
	l.raw(`,"eventType":`).str(e.EventType)
	l.raw(`,"managementEvent":`).bool(e.ManagementEvent)
	l.raw(`,"recipientAccountId":`).str(e.RecipientAccountID)
	l.raw(`,"eventCategory":`).str(e.EventCategory)
	if e.Podid != nil {
		l.raw(`,"podid":`).extra(e.Podid)
	}
	l.raw("}\n")
	return l.b, l.err
}

func (l *line) raw(s string) *line {
	l.b = append(l.b, s...)
	return l
}

// str appends a JSON string. Plain ASCII, which nearly everything is, is
// copied; the rest is encoding/json's business.
func (l *line) str(s string) {
	if !compactjson.IsPlain(s) {
		l.marshal(s)
		return
	}
	l.b = append(append(append(l.b, '"'), s...), '"')
}

// optional is a member that is left out when empty.
func (l *line) optional(member, s string) {
	if s != "" {
		l.raw(member).str(s)
	}
}

func (l *line) bool(v bool) { l.b = strconv.AppendBool(l.b, v) }

// time appends what time.Time's MarshalJSON makes, with its own checks where
// they could matter.
func (l *line) time(t time.Time) {
	if y := t.Year(); y < 0 || y > 9999 || t.Location() != time.UTC {
		l.marshal(t)
		return
	}
	l.b = append(t.AppendFormat(append(l.b, '"'), time.RFC3339Nano), '"')
}

func (l *line) any(v any) {
	switch v := v.(type) {
	case nil:
		l.raw("null")
	case appender:
		l.b = v.AppendJSON(l.b)
	case Assumption:
		l.assumption(&v)
	case string:
		l.str(v)
	case int:
		l.b = strconv.AppendInt(l.b, int64(v), 10)
	case map[string]string:
		object(l, v, l.str)
	case map[string]any:
		object(l, v, l.any)
	default:
		l.marshal(v)
	}
}

// object appends a map, its keys in order.
func object[V any](l *line, m map[string]V, value func(V)) {
	if m == nil {
		l.raw("null")
		return
	}
	var few [16]string
	keys := few[:0]
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	l.raw("{")
	for i, k := range keys {
		if i > 0 {
			l.raw(",")
		}
		l.str(k)
		l.raw(":")
		value(m[k])
	}
	l.raw("}")
}

// marshal appends encoding/json's form.
func (l *line) marshal(v any) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		if l.err == nil {
			l.err = err
		}
		return
	}
	l.b = append(l.b, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...)
}

func (l *line) identity(u *UserIdentity) {
	l.raw(`{"type":`).str(u.Type)
	l.optional(`,"principalId":`, u.PrincipalID)
	l.optional(`,"arn":`, u.ARN)
	l.optional(`,"accountId":`, u.AccountID)
	l.optional(`,"accessKeyId":`, u.AccessKeyID)
	l.optional(`,"userName":`, u.UserName)
	l.optional(`,"invokedBy":`, u.InvokedBy)
	if u.SessionContext != nil {
		s := &u.SessionContext.SessionIssuer
		l.raw(`,"sessionContext":{"sessionIssuer":{"type":`).str(s.Type)
		l.raw(`,"principalId":`).str(s.PrincipalID)
		l.raw(`,"arn":`).str(s.ARN)
		l.raw(`,"accountId":`).str(s.AccountID)
		l.raw(`,"userName":`).str(s.UserName)
		l.raw("}}")
	}
	l.raw("}")
}

func (l *line) assumption(a *Assumption) {
	l.raw(`{"assumedRoleUser":{"arn":`).str(a.AssumedRoleUser.ARN)
	l.raw(`,"assumedRoleId":`).str(a.AssumedRoleUser.AssumedRoleID)
	l.raw(`},"credentials":{"accessKeyId":`).str(a.Credentials.AccessKeyID)
	l.raw(`,"expiration":`).time(a.Credentials.Expiration)
	l.raw(`,"sessionToken":`).str(a.Credentials.SessionToken)
	l.raw(`},"packedPolicySize":`)
	l.b = strconv.AppendInt(l.b, int64(a.PackedPolicySize), 10)
	l.raw("}")
}

func (l *line) resources(all []Resource) {
	for i, r := range all {
		if i == 0 {
			l.raw(`,"resources":[{`)
		} else {
			l.raw(",{")
		}
		if r.AccountID != "" {
			l.raw(`"accountId":`).str(r.AccountID)
			l.raw(",")
		}
		if r.Type != "" {
			l.raw(`"type":`).str(r.Type)
			l.raw(",")
		}
		l.raw(`"ARN":`).str(r.ARN)
		l.raw("}")
	}
	if len(all) > 0 {
		l.raw("]")
	}
}

// extra appends the podid block, all of whose members may be left out: each
// writes a comma before itself, and the first one's becomes the brace.
func (l *line) extra(x *Extra) {
	start := len(l.b)
	l.optional(`,"associationId":`, x.AssociationID)
	l.optional(`,"clusterUid":`, x.ClusterUID)
	l.optional(`,"namespace":`, x.Namespace)
	l.optional(`,"serviceAccount":`, x.ServiceAccount)
	l.optional(`,"pod":`, x.Pod)
	l.optional(`,"podUid":`, x.PodUID)
	l.optional(`,"node":`, x.Node)
	l.optional(`,"callerNode":`, x.CallerNode)
	if x.AnyNode {
		l.raw(`,"anyNode":true`)
	}
	l.optional(`,"roleArn":`, x.RoleARN)
	l.optional(`,"sessionArn":`, x.SessionARN)
	l.optional(`,"accessKeyIdIssued":`, x.AccessKeyIDIssued)
	l.tags(x.SessionTags)
	l.optional(`,"reason":`, x.Reason)
	if x.Detail != nil {
		l.raw(`,"detail":`).any(x.Detail)
	}
	l.number(`,"httpStatus":`, int64(x.HTTPStatus))
	l.number(`,"durationMicroseconds":`, x.DurationMicrosecond)
	if len(l.b) == start {
		l.raw("{")
	}
	l.b[start] = '{'
	l.raw("}")
}

func (l *line) number(member string, n int64) {
	if n != 0 {
		l.raw(member)
		l.b = strconv.AppendInt(l.b, n, 10)
	}
}

func (l *line) tags(all []Tag) {
	for i, t := range all {
		if i == 0 {
			l.raw(`,"sessionTags":[{"key":`).str(t.Key)
		} else {
			l.raw(`,{"key":`).str(t.Key)
		}
		l.raw(`,"value":`).str(t.Value)
		l.raw("}")
	}
	if len(all) > 0 {
		l.raw("]")
	}
}
