// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package objects

import (
	"context"
	"errors"
	"strings"
	"testing"

	"podid/api/v1alpha1"
)

// TestDefinitionsComeLater: the operator serves without them, and begins when
// they are there. It is the first test of the package, before any has them.
func TestDefinitionsComeLater(t *testing.T) {
	w := undefined(t)
	operator := w.operator()
	w.eventually("the operator to wait for the definitions", func(context.Context) error {
		if !strings.Contains(operator.Tail(), "waiting for their definitions") {
			return errors.New("it does not say so")
		}
		return nil
	})
	w.define()
	p := w.policy("later", "arn:aws:iam::111122223333:role/app-*")
	o := w.object("later", "later", roleA)
	w.is("later", v1alpha1.ConditionReady, "True Ready")
	select {
	case <-operator.Ended():
		t.Error("the operator has ended meanwhile")
	default:
	}
	w.end(o)
	if err := w.kube.Delete(t.Context(), p); err != nil {
		t.Fatal(err)
	}
}
