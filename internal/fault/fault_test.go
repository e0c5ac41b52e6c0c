// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package fault_test

import (
	"errors"
	"fmt"
	"testing"

	"podid/internal/fault"
)

func TestAs(t *testing.T) {
	cause := errors.New("disk on fire")
	denied := fault.New(fault.AccessDenied, "User: %s may not", "u").WithReason("not-authorized").WithDetail(7).Because(cause)
	for _, c := range []struct {
		name    string
		in      error
		kind    fault.Kind
		message string
		text    string
	}{
		{"a fault", denied, fault.AccessDenied, "User: u may not", "User: u may not: disk on fire"},
		{"wrapped", fmt.Errorf("assume role: %w", denied), fault.AccessDenied, "User: u may not", "User: u may not: disk on fire"},
		{"joined", errors.Join(errors.New("first"), denied), fault.AccessDenied, "User: u may not", "User: u may not: disk on fire"},
		{"any other error says nothing to the caller", cause, fault.Internal, "", "disk on fire"},
		{"no cause", fault.New(fault.NotFound, "none"), fault.NotFound, "none", "none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := fault.As(c.in)
			if f.Kind != c.kind || f.Message != c.message || f.Error() != c.text {
				t.Errorf("As = %v %q %q", f.Kind, f.Message, f.Error())
			}
		})
	}
	if denied.Reason != "not-authorized" || denied.Detail != 7 || !errors.Is(denied, cause) {
		t.Errorf("the parts were not kept: %+v", denied)
	}
}

func TestIs(t *testing.T) {
	err := fmt.Errorf("w: %w", fault.New(fault.NotFound, "none"))
	if !fault.Is(err, fault.NotFound) || fault.Is(err, fault.Internal) {
		t.Error("Is does not look at the kind")
	}
	if fault.Is(errors.New("x"), fault.Internal) || fault.Is(nil, fault.Internal) {
		t.Error("what is no fault has no kind")
	}
}
