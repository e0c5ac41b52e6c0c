// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package eksauthclient

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strings"
	"time"
)

// Secret is a string that does not print itself: a pod's token, a secret key, a session token.
type Secret string

const hidden = "[secret]"

// String hides the value.
func (Secret) String() string { return hidden }

// GoString hides the value from %#v.
func (Secret) GoString() string { return hidden }

// LogValue hides the value from slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText hides the value from encoders; the two places that must write it convert it to a string by name.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Session is what EKS Auth answers: the credentials of one pod.
type Session struct {
	AccessKeyID     string
	SecretAccessKey Secret
	SessionToken    Secret
	// Expiration is the end of the session, in UTC.
	Expiration time.Time
	// AccountID is cut from the ARN of the assumed role.
	AccountID string
	// RoleARN is the ARN of the assumed role session.
	RoleARN string
	// AssociationID names the association that granted the session; it may be empty.
	AssociationID string
	// Namespace and ServiceAccount are the subject that EKS Auth verified; they may be empty.
	Namespace, ServiceAccount string
}

type requestJSON struct {
	Token string `json:"token"`
}

// requestBody is the body of the call. A token is letters, digits and three signs: nothing that JSON escapes.
func requestBody(token Secret) ([]byte, error) {
	for i := range len(token) {
		if c := token[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return json.Marshal(requestJSON{Token: string(token)})
		}
	}
	return []byte(`{"token":"` + string(token) + `"}`), nil
}

type responseJSON struct {
	Subject struct {
		Namespace      string `json:"namespace"`
		ServiceAccount string `json:"serviceAccount"`
	} `json:"subject"`
	PodIdentityAssociation struct {
		AssociationID string `json:"associationId"`
	} `json:"podIdentityAssociation"`
	AssumedRoleUser struct {
		ARN string `json:"arn"`
	} `json:"assumedRoleUser"`
	Credentials struct {
		AccessKeyID     string   `json:"accessKeyId"`
		SecretAccessKey string   `json:"secretAccessKey"`
		SessionToken    string   `json:"sessionToken"`
		Expiration      *float64 `json:"expiration"`
	} `json:"credentials"`
}

// decodeSession reads a 200 answer. A field that a pod needs and that is absent makes the whole answer unusable.
func decodeSession(answer []byte) (*Session, error) {
	in, ok := compact(answer)
	if !ok {
		in = responseJSON{}
		if err := json.Unmarshal(answer, &in); err != nil {
			return nil, fmt.Errorf("%w: not the JSON of the call", ErrBadAnswer)
		}
	}
	var missing []string
	need := func(name string, present bool) {
		if !present {
			missing = append(missing, name)
		}
	}
	need("credentials.accessKeyId", in.Credentials.AccessKeyID != "")
	need("credentials.secretAccessKey", in.Credentials.SecretAccessKey != "")
	need("credentials.sessionToken", in.Credentials.SessionToken != "")
	need("credentials.expiration", in.Credentials.Expiration != nil)
	need("assumedRoleUser.arn", in.AssumedRoleUser.ARN != "")
	if len(missing) > 0 {
		return nil, fmt.Errorf("%w: without %s", ErrBadAnswer, strings.Join(missing, ", "))
	}
	parts := strings.SplitN(in.AssumedRoleUser.ARN, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[4] == "" {
		return nil, fmt.Errorf("%w: assumedRoleUser.arn names no account", ErrBadAnswer)
	}
	seconds := *in.Credentials.Expiration
	if seconds <= 0 || seconds > 1<<40 || math.IsNaN(seconds) {
		return nil, fmt.Errorf("%w: credentials.expiration is out of range", ErrBadAnswer)
	}
	return &Session{
		AccessKeyID:     in.Credentials.AccessKeyID,
		SecretAccessKey: Secret(in.Credentials.SecretAccessKey),
		SessionToken:    Secret(in.Credentials.SessionToken),
		Expiration:      time.UnixMilli(int64(seconds * 1000)).UTC(),
		AccountID:       parts[4],
		RoleARN:         in.AssumedRoleUser.ARN,
		AssociationID:   strings.Clone(in.PodIdentityAssociation.AssociationID), // which is kept, and the answer is not
		Namespace:       in.Subject.Namespace,
		ServiceAccount:  in.Subject.ServiceAccount,
	}, nil
}

type errorJSON struct {
	Type         string `json:"__type"`
	Code         string `json:"code"`
	Message      string `json:"message"`
	UpperMessage string `json:"Message"`
}

// decodeError reads a refusal in every form that AWS' clients understand: the code from the header, else from the body.
func decodeError(resp *http.Response, answer []byte) *APIError {
	var in errorJSON
	// A body that is no JSON (a proxy's page) leaves the code to the header or to the fallback.
	_ = json.Unmarshal(answer, &in)
	e := &APIError{
		Status:    resp.StatusCode,
		Code:      firstOf(cleanCode(resp.Header.Get("X-Amzn-Errortype")), cleanCode(in.Type), cleanCode(in.Code), "UnknownError"),
		Message:   printable(firstOf(in.Message, in.UpperMessage)),
		RequestID: printable(firstOf(resp.Header.Get("X-Amzn-Requestid"), resp.Header.Get("X-Amz-Request-Id"))),
	}
	return e
}

// cleanCode cuts the decoration of a code: "ns#Code:http://…" is Code.
func cleanCode(raw string) string {
	raw, _, _ = strings.Cut(raw, ":")
	if i := strings.LastIndexByte(raw, '#'); i >= 0 {
		raw = raw[i+1:]
	}
	return printable(strings.TrimSpace(raw))
}

// printable bounds text that goes on to pods and logs, and takes line breaks and control characters out of it.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > maxMessageBytes {
		s = strings.ToValidUTF8(s[:maxMessageBytes], "")
	}
	return s
}

func firstOf(candidates ...string) string {
	for _, c := range candidates {
		if c != "" {
			return c
		}
	}
	return ""
}
