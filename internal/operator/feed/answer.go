// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// answer is one of the feed's. What it names is an index by itself, which
// takes the place of the old one where the answer is complete.
type answer struct {
	clusterUID string
	revision   int64
	complete   bool
	named      *index
	deleted    []names
}

type names struct {
	Namespace      string `json:"namespace"`
	ServiceAccount string `json:"serviceAccount"`
}

// associationJSON is one of an answer's associations.
type associationJSON struct {
	names
	AssociationID string `json:"associationId"`
	Revision      int64  `json:"revision"`
}

// readAnswer reads an answer as it comes: one of 100,000 associations is never
// in memory as a whole. An answer that ends early is an error.
func readAnswer(r io.Reader) (*answer, error) {
	a := &answer{named: newIndex()}
	d := json.NewDecoder(r)
	if err := expect(d, '{'); err != nil {
		return nil, err
	}
	for d.More() {
		key, err := d.Token()
		if err == nil {
			err = a.field(d, key)
		}
		if err != nil {
			return nil, fmt.Errorf("read the feed's answer: %w", err)
		}
	}
	if err := expect(d, '}'); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.Join(errors.New("read the feed's answer: there is more after it"), err)
	}
	if a.clusterUID == "" || a.revision <= 0 {
		return nil, errors.New("the feed's answer names no cluster or no revision")
	}
	return a, nil
}

func (a *answer) field(d *json.Decoder, key json.Token) error {
	switch key {
	case "clusterUid":
		return d.Decode(&a.clusterUID)
	case "revision":
		return d.Decode(&a.revision)
	case "complete":
		return d.Decode(&a.complete)
	case "associations":
		var in associationJSON
		return each(d, &in, func() error {
			_, err := a.named.put(Association{in.Namespace, in.ServiceAccount, in.AssociationID, in.Revision})
			return err
		})
	case "deleted":
		var in names
		return each(d, &in, func() error {
			a.deleted = append(a.deleted, in)
			return nil
		})
	}
	var other json.RawMessage // of a newer control plane
	return d.Decode(&other)
}

// each decodes the elements of a list, or of null, one after the other.
func each[T any](d *json.Decoder, in *T, then func() error) error {
	open, err := d.Token()
	switch {
	case err != nil:
		return err
	case open == nil:
		return nil
	case open != json.Delim('['):
		return fmt.Errorf("expected a list, got %v", open)
	}
	for d.More() {
		*in = *new(T)
		if err := d.Decode(in); err != nil {
			return err
		}
		if err := then(); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

func expect(d *json.Decoder, want json.Delim) error {
	got, err := d.Token()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("read the feed's answer: %w", err)
	}
	if got != want {
		return fmt.Errorf("read the feed's answer: expected %s, got %v", want, got)
	}
	return nil
}
