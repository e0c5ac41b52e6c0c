// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package stackrun

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"podid/internal/store"
)

// typeStack is the resource type of a stack itself, in its events.
const typeStack = "AWS::CloudFormation::Stack"

// chunkSize is how many events share a record.
const chunkSize = 100

// Chunk is a row of a stack's events, oldest first.
type Chunk struct {
	Events []Event `cbor:"1,keyasint"`
}

func chunkID(uid string, number int) string { return fmt.Sprintf("%s/%06d", uid, number) }

// appendEvents writes events behind those that the stack has, and drops the
// oldest chunk when it has more than MaxEvents.
func (m *Manager) appendEvents(tx *store.Tx, n *Record, events []Event) {
	for len(events) > 0 {
		number, used := n.Events/chunkSize, n.Events%chunkSize
		part := events[:min(len(events), chunkSize-used)]
		events = events[len(part):]
		chunk := &Chunk{}
		if used > 0 {
			if old, ok := Events.Get(tx, m.scope(), chunkID(n.UID, number)); ok {
				chunk.Events = slices.Clone(old.Events)
			}
		} else if last := number - MaxEvents/chunkSize; last >= 0 {
			Events.Delete(tx, m.scope(), chunkID(n.UID, last))
		}
		for _, e := range part {
			e.ID = fmt.Sprintf("%s-%s-%06d", e.LogicalID, e.Status, n.Events)
			chunk.Events = append(chunk.Events, e)
			n.Events++
		}
		Events.Put(tx, m.scope(), chunkID(n.UID, number), chunk)
	}
}

// stackEvent is an event about the stack itself.
func stackEvent(n *Record, at time.Time, token string, status Status, reason string) Event {
	return Event{
		StackID: n.ID, StackName: n.Name, LogicalID: n.Name, PhysicalID: n.ID, Type: typeStack, Status: status, Reason: cut(reason), Token: token, Time: at,
	}
}

// cut keeps a reason within its bound.
func cut(reason string) string {
	if len(reason) <= maxReason {
		return reason
	}
	return strings.ToValidUTF8(reason[:maxReason-len("…")], "") + "…"
}

// masked takes secrets out of a text for people.
func masked(text string, secrets []string) string {
	for _, s := range secrets {
		text = strings.ReplaceAll(text, s, "****")
	}
	return text
}

// maskedOutput hides a secret that an output repeats. A short one is hidden
// only when it is the whole output: elsewhere it may be part of any word.
func maskedOutput(value string, secrets []string) string {
	for _, s := range secrets {
		if value == s || utf8.RuneCountInString(s) >= 8 {
			value = strings.ReplaceAll(value, s, "****")
		}
	}
	return value
}
