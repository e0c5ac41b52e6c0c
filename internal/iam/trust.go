// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package iam

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"podid/internal/arn"
	"podid/internal/fault"
	"podid/internal/policy"
	"podid/internal/store"
)

// Trust policies are kept as AWS keeps them: where one names a role or user by
// ARN, its unique id is stored. A principal that is deleted and made again is
// another principal, which the policy does not name; the policy then shows the
// old id. (IAM User Guide, "AWS JSON policy elements: Principal", "IAM role
// principals".) A session of a role is kept by the role's id and its own name.
// So it is with principals of the installation's other accounts, with one
// difference from AWS: an ARN of another account that names nobody is not
// refused but kept as it is, else anybody could ask by it which roles and users
// another account has.

// checkTrust compiles a trust policy and holds it to its quota.
func (m *Manager) checkTrust(text string) error {
	if err := checkDocument("assumeRolePolicyDocument", text); err != nil {
		return err
	}
	if _, err := policy.Parse(policy.Trust, text); err != nil {
		return malformed(err)
	}
	if limit := m.quota(ACLSizePerRole); policy.Size(text) > limit {
		return overQuota(ACLSizePerRole, limit)
	}
	return nil
}

// storedTrust puts unique ids in the place of names.
func (m *Manager) storedTrust(r store.Reader, text string) (string, error) {
	return mapPrincipals(text, func(p string) (string, error) {
		if isUniqueID(p) || isSessionID(p) {
			if m.principalARN(r, p) == "" {
				return "", invalidPrincipal(p)
			}
			return p, nil
		}
		account, kind := m.named(p)
		if kind != "role" && kind != "user" && kind != "assumed-role" {
			return p, nil
		}
		if principal := principalID(r, account, kind, p); principal != "" {
			return principal, nil
		}
		if account == m.Account {
			return "", invalidPrincipal(p)
		}
		return p, nil
	})
}

// named reads account and kind from a principal's ARN; "" for what is none of
// IAM, and no session of a role, in this partition.
func (m *Manager) named(p string) (account, kind string) {
	rest, ok := strings.CutPrefix(p, "arn:"+m.Partition+":iam::")
	if !ok {
		if rest, ok = strings.CutPrefix(p, "arn:"+m.Partition+":sts::"); !ok {
			return "", ""
		}
	}
	if account, rest, _ = strings.Cut(rest, ":"); !arn.IsAccount(account) {
		return "", ""
	}
	kind, _, _ = strings.Cut(rest, "/")
	if strings.Contains(p, ":sts::") != (kind == "assumed-role") {
		return "", ""
	}
	return account, kind
}

// principalID is the unique id of the role, session of a role, or user that an
// ARN names, or "".
func principalID(r store.Reader, account, kind, p string) string {
	if kind == "assumed-role" {
		_, session, _ := strings.Cut(p, "assumed-role/")
		name, session, _ := strings.Cut(session, "/")
		if role, ok := FindRole(r, account, name); ok && role.Name == name && session != "" {
			return role.ID + ":" + session
		}
		return ""
	}
	scope, name := store.Scope{Account: account, Region: store.Global}, id(p[strings.LastIndexByte(p, '/')+1:])
	if kind == "role" {
		if role, ok := Roles.Get(r, scope, name); ok && role.ARN() == p {
			return role.ID
		}
		return ""
	}
	if user, ok := Users.Get(r, scope, name); ok && user.ARN() == p {
		return user.ID
	}
	return ""
}

// Shown returns the role as its owner sees it: in the trust policy the ids of
// living principals are ARNs again.
func (m *Manager) Shown(r store.Reader, role *Role) *Role {
	text, err := mapPrincipals(role.Trust, func(p string) (string, error) {
		if isUniqueID(p) || isSessionID(p) {
			return cmp.Or(m.principalARN(r, p), m.neighbourARN(r, p), p), nil
		}
		return p, nil
	})
	if err != nil || text == role.Trust {
		return role // stored documents are valid: the text is shown as it is
	}
	n := role.clone()
	n.Trust = text
	return n
}

// principalARN is the ARN of the account's role or user with that unique id,
// or "".
func (m *Manager) principalARN(r store.Reader, uniqueID string) string {
	return arnOfID(r, m.Account, uniqueID)
}

// neighbourARN is principalARN for the other accounts of the installation. It
// is for ids that a stored policy holds, not for those that a caller gives.
func (m *Manager) neighbourARN(r store.Reader, uniqueID string) string {
	if m.Accounts == nil {
		return ""
	}
	for account := range m.Accounts(r) {
		if a := arnOfID(r, account, uniqueID); a != "" {
			return a
		}
	}
	return ""
}

func arnOfID(r store.Reader, account, uniqueID string) string {
	scope := store.Scope{Account: account, Region: store.Global}
	if roleID, session, ok := strings.Cut(uniqueID, ":"); ok {
		if _, role, ok := Roles.FindIndex(r, scope, roleID); ok {
			return arn.AssumedRole(role.Partition, account, role.Name, session)
		}
		return ""
	}
	if _, role, ok := Roles.FindIndex(r, scope, uniqueID); ok {
		return role.ARN()
	}
	if _, user, ok := Users.FindIndex(r, scope, uniqueID); ok {
		return user.ARN()
	}
	return ""
}

func isUniqueID(s string) bool {
	return len(s) >= 16 && (strings.HasPrefix(s, prefixRole) || strings.HasPrefix(s, prefixUser)) && !strings.ContainsAny(s, ":/")
}

// isSessionID recognises a session by its role's id: AROA…:session. AWS
// documents no such form; here it is how a trust policy that names a session
// is kept, so that the role's successor does not inherit it.
func isSessionID(s string) bool {
	role, session, ok := strings.Cut(s, ":")
	return ok && session != "" && isUniqueID(role) && strings.HasPrefix(role, prefixRole)
}

func invalidPrincipal(p string) error {
	return fault.New(fault.MalformedPolicy, `Invalid principal in policy: "AWS":%q`, p).WithReason("invalid-principal")
}

// mapPrincipals replaces the values of AWS under Principal and NotPrincipal
// and leaves every other character of the document as it is.
func mapPrincipals(text string, f func(string) (string, error)) (string, error) {
	w := walker{text: text, dec: json.NewDecoder(strings.NewReader(text)), f: f}
	if err := w.value(nil); err != nil {
		return "", err
	}
	if _, err := w.dec.Token(); !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read trust policy: data after the document")
	}
	w.out.WriteString(text[w.copied:])
	return w.out.String(), nil
}

// walker reads a document token by token and knows where each stands in it.
type walker struct {
	text   string
	dec    *json.Decoder
	f      func(string) (string, error)
	out    strings.Builder
	copied int
}

// value reads one value at the path of member names given.
func (w *walker) value(path []string) error {
	before := int(w.dec.InputOffset())
	t, err := w.dec.Token()
	if err != nil {
		return fmt.Errorf("read trust policy: %w", err)
	}
	switch t := t.(type) {
	case json.Delim:
		for w.dec.More() {
			inner := path
			if t == '{' {
				name, err := w.dec.Token()
				if err != nil {
					return fmt.Errorf("read trust policy: %w", err)
				}
				inner = append(path[:len(path):len(path)], fmt.Sprint(name))
			}
			if err := w.value(inner); err != nil {
				return err
			}
		}
		if _, err := w.dec.Token(); err != nil {
			return fmt.Errorf("read trust policy: %w", err)
		}
	case string:
		if isPrincipalPath(path) {
			return w.replace(before, t)
		}
	}
	return nil
}

func isPrincipalPath(path []string) bool {
	return len(path) == 3 && path[0] == "Statement" && (path[1] == "Principal" || path[1] == "NotPrincipal") && path[2] == "AWS"
}

// replace writes what stands for the string that ended at the decoder's place.
func (w *walker) replace(before int, value string) error {
	n, err := w.f(value)
	if err != nil || n == value {
		return err
	}
	// Between two tokens stand only white space, colon and comma.
	start := before + strings.IndexByte(w.text[before:], '"')
	quoted, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("write trust policy: %w", err)
	}
	w.out.WriteString(w.text[w.copied:start])
	w.out.Write(quoted)
	w.copied = int(w.dec.InputOffset())
	return nil
}
