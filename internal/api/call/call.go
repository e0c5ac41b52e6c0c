// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package call owns the way of a request through the wire: read the body
// within its limit, prove the caller, run the operation, write the answer in
// the service's protocol, record it. Both codecs (restjson, awsquery) and all
// service packages use it, so there is one place that authenticates, one that
// audits and one that writes errors. It makes no authorisation decision: that
// is inside the verb. It refuses bodies over the limit and calls that cannot
// be recorded.
package call

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"podid/internal/audit"
	"podid/internal/fault"
	"podid/internal/iam"
	"podid/internal/reqctx"
	"podid/internal/uuid"
)

// Operation describes one operation of a service. A table of them is the
// service's whole surface: routing, audit, documentation and tests walk it.
type Operation struct {
	Service string // SigV4 signing name: "eks", "eks-auth", "sts", "iam", "podid"
	Source  string // CloudTrail's eventSource: "eks.amazonaws.com"
	Name    string // "CreatePodIdentityAssociation"
	// Action is the IAM action that the verb checks ("eks:Create…"), or
	// "none" for what AWS allows to everybody (sts:GetCallerIdentity) or
	// checks otherwise (the token itself).
	Action string
	// Resource is the form of the ARN that Action is checked on, for the docs.
	Resource  string
	ReadOnly  bool
	Anonymous bool // the call carries its own proof (AssumeRoleWithWebIdentity)
	// Exchange calls go on when audit cannot be written; all others are refused.
	Exchange bool
	// MaxBody, when above 0, is the limit in bytes of a body that the handler
	// reads by itself with Call.OpenLarge; Call.Body is empty then.
	MaxBody int64
}

// Unknown is the name that metrics have for what is no operation: an Operation
// without Action.
const Unknown = "Unknown"

// Call is one request inside an operation's handler.
type Call struct {
	HTTP   *http.Request
	Body   []byte
	Caller iam.Caller // the zero Caller when the operation is Anonymous
	Event  *audit.Event
}

// Extra returns the podid block of the call's audit event, making it if needed.
func (c *Call) Extra() *audit.Extra {
	if c.Event.Podid == nil {
		c.Event.Podid = &audit.Extra{}
	}
	return c.Event.Podid
}

// Handler runs an operation and returns what the codec encodes.
type Handler func(ctx context.Context, c *Call) (any, error)

// Codec writes answers in a protocol. Error returns the exception's name as
// written and its HTTP status, for audit.
type Codec interface {
	Result(w http.ResponseWriter, requestID string, op Operation, result any) (status int, err error)
	Error(w http.ResponseWriter, requestID string, op Operation, f *fault.Error) (code string, status int)
}

// Send writes a whole answer, for codecs. The error is that of a caller who is gone.
func Send(w http.ResponseWriter, requestID string, status int, contentType string, body []byte) error {
	h := w.Header()
	// The names are canonical: Set would look at every letter. The values share an array.
	v := [...]string{requestID, contentType, strconv.Itoa(len(body))}
	h["X-Amzn-Requestid"], h["Content-Type"], h["Content-Length"] = v[0:1:1], v[1:2:2], v[2:3:3]
	w.WriteHeader(status)
	_, err := w.Write(body)
	return err
}

// Authenticator proves who signed a request. bodySHA256 is in hexadecimal.
// Errors are faults of the kinds MissingAuthentication … SignatureMismatch.
type Authenticator interface {
	Authenticate(ctx context.Context, r *http.Request, bodySHA256, service string) (iam.Caller, error)
}

// Recorder keeps audit events. Ready returns an error while events cannot be
// written.
type Recorder interface {
	Ready() error
	Record(ctx context.Context, e *audit.Event) error
}

// Gate is the way in. All fields but Message are required.
type Gate struct {
	Authn    Authenticator
	Audit    Recorder
	Log      *slog.Logger
	Now      func() time.Time
	Region   string
	Account  string
	MaxBody  int64 // bytes; a longer body is refused with TooLarge
	Observed func(op Operation, code string, status int, took time.Duration)
	// Message encodes a refusal for DecodeAuthorizationMessage; nil = not at all.
	Message func(caller iam.Caller, action string, f *fault.Error) (string, error)
}

// Serve takes one request through the gate.
func (g *Gate) Serve(w http.ResponseWriter, r *http.Request, op Operation, codec Codec, h Handler) {
	if op.MaxBody > 0 {
		g.ServeBody(w, r, nil, nil, op, codec, h)
		return
	}
	body, err := g.ReadBody(w, r)
	g.ServeBody(w, r, body, err, op, codec, h)
}

// ReadBody reads the body within the limit, for codecs that must look at it
// before they know the operation.
func (g *Gate) ReadBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength > g.MaxBody {
		return nil, g.tooLarge() // said beforehand: nothing of it is read
	}
	body, err := g.read(w, r)
	if err == nil {
		return body, nil
	}
	if over := (*http.MaxBytesError)(nil); errors.As(err, &over) {
		return nil, g.tooLarge()
	}
	return nil, fault.New(fault.InvalidRequest, "The request body could not be read.").WithReason("body-unreadable").Because(err)
}

// ordinaryBody bounds the room that an announced length gets before any of it
// has come: whoever announces much and sends little must not cost much.
const ordinaryBody = 8 << 10

// read takes an ordinary body in one piece: net/http gives as many bytes as
// were announced, and no more. Any other body grows as it comes.
func (g *Gate) read(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if 0 <= r.ContentLength && r.ContentLength <= ordinaryBody {
		body := make([]byte, r.ContentLength)
		_, err := io.ReadFull(r.Body, body)
		return body, err
	}
	return io.ReadAll(http.MaxBytesReader(w, r.Body, g.MaxBody))
}

func (g *Gate) tooLarge() error {
	return fault.New(fault.TooLarge, "The request body is larger than %d bytes.", g.MaxBody).WithReason("body-too-large")
}

// ServeBody is Serve for a body that was read already; readErr refuses it.
func (g *Gate) ServeBody(w http.ResponseWriter, r *http.Request, body []byte, readErr error, op Operation, codec Codec, h Handler) {
	start := g.Now()
	info := reqctx.From(r.Context())
	c := &Call{HTTP: r, Body: body, Event: g.newEvent(op, info, start)}
	result, err := any(nil), readErr
	if err == nil {
		result, err = g.run(r.Context(), c, op, h)
	}
	took := g.Now().Sub(start)
	if err == nil {
		// What cannot be recorded must not look as if it had gone well.
		if err = g.record(r.Context(), c, op, took); err == nil {
			g.result(w, r, c, op, codec, result, took)
			return
		}
	}
	g.refuse(w, r, c, op, codec, err, took)
}

func (g *Gate) run(ctx context.Context, c *Call, op Operation, h Handler) (any, error) {
	if !op.Anonymous {
		hash, err := bodyHash(c, op)
		if err != nil {
			return nil, err
		}
		caller, err := g.Authn.Authenticate(ctx, c.HTTP, hash, op.Service)
		if err != nil {
			return nil, err
		}
		c.Caller = caller
		c.Event.UserIdentity = Identity(caller)
	}
	if !op.Exchange && !op.ReadOnly {
		if err := g.Audit.Ready(); err != nil {
			return nil, fault.New(fault.Unavailable, "The audit log cannot be written, so changes are refused.").WithReason("audit-unavailable").Because(err)
		}
	}
	return h(ctx, c)
}

// bodyHash is the hash that the signature has to be over.
func bodyHash(c *Call, op Operation) (string, error) {
	if op.MaxBody > 0 {
		return largeHash(c.HTTP)
	}
	sum := sha256.Sum256(c.Body)
	return hex.EncodeToString(sum[:]), nil
}

// record writes the event of a call that went well. An exchange goes on when
// it cannot be written (the recorder counts it); any other call does not.
func (g *Gate) record(ctx context.Context, c *Call, op Operation, took time.Duration) error {
	if c.Event.Podid != nil {
		c.Event.Podid.DurationMicrosecond = took.Microseconds()
	}
	err := g.Audit.Record(ctx, c.Event)
	if err == nil || op.Exchange {
		return nil
	}
	return fault.New(fault.Unavailable, "The audit log could not be written; the call may have taken effect.").WithReason("audit-unavailable").Because(err)
}

func (g *Gate) result(w http.ResponseWriter, r *http.Request, c *Call, op Operation, codec Codec, result any, took time.Duration) {
	status, err := codec.Result(w, c.Event.RequestID, op, result)
	if err != nil {
		g.Log.ErrorContext(r.Context(), "write answer", "request_id", c.Event.RequestID, "operation", op.Name, "err", err)
	}
	g.observe(op, "", status, took)
}

func (g *Gate) refuse(w http.ResponseWriter, r *http.Request, c *Call, op Operation, codec Codec, err error, took time.Duration) {
	f := fault.As(err)
	if f.Kind == fault.Internal || f.Kind == fault.Unavailable {
		g.Log.ErrorContext(r.Context(), "call refused", "request_id", c.Event.RequestID, "operation", op.Name, "reason", f.Reason, "err", err)
	}
	if f.Kind == fault.Internal && f.Message != "" {
		// What went wrong inside is for the log, whoever wrote the text.
		n := *f
		n.Message = ""
		f = &n
	}
	g.explain(w.Header(), c, op, f)
	code, status := codec.Error(w, c.Event.RequestID, op, f)
	e := c.Event
	e.ErrorCode, e.ErrorMessage = code, cut(f.Message)
	x := c.Extra()
	x.Reason, x.Detail, x.HTTPStatus, x.DurationMicrosecond = f.Reason, f.Detail, status, took.Microseconds()
	if err := g.Audit.Record(r.Context(), e); err != nil {
		g.Log.ErrorContext(r.Context(), "record refusal", "request_id", e.RequestID, "operation", op.Name, "err", err)
	}
	g.observe(op, code, status, took)
}

// maxMessage bounds an error's text in audit, in bytes: it may quote what a
// stranger sent, and long lines would turn old records out of the log.
const maxMessage = 4096

func cut(s string) string {
	if len(s) <= maxMessage {
		return s
	}
	return strings.ToValidUTF8(s[:maxMessage], "")
}

// observe counts a call. What a request names that is no operation goes to
// audit, not to metrics: a stranger could fill them with names of his own.
func (g *Gate) observe(op Operation, code string, status int, took time.Duration) {
	if op.Action == "" {
		op.Name = Unknown
	}
	g.Observed(op, code, status, took)
}

func (g *Gate) newEvent(op Operation, info reqctx.Info, now time.Time) *audit.Event {
	src := "podid"
	if info.SourceIP.IsValid() {
		src = info.SourceIP.String()
	}
	return &audit.Event{
		EventVersion: "1.11", UserIdentity: audit.UserIdentity{Type: "Unknown"}, EventTime: now.UTC().Truncate(time.Second),
		EventSource: op.Source, EventName: op.Name, AWSRegion: g.Region, SourceIPAddress: src, UserAgent: info.UserAgent,
		RequestID: info.ID, EventID: uuid.Random(), ReadOnly: op.ReadOnly, EventType: "AwsApiCall", ManagementEvent: true,
		RecipientAccountID: g.Account, EventCategory: "Management",
	}
}

// Identity is the caller in CloudTrail's words.
func Identity(c iam.Caller) audit.UserIdentity {
	id := audit.UserIdentity{PrincipalID: c.UserID, ARN: c.ARN, AccountID: c.Account, AccessKeyID: c.AccessKeyID}
	switch c.Kind {
	case iam.CallerUser:
		id.Type, id.UserName = "IAMUser", c.User.Name
	case iam.CallerSession:
		id.Type = "AssumedRole"
		id.SessionContext = &audit.SessionContext{SessionIssuer: audit.SessionIssuer{
			Type: "Role", PrincipalID: c.Session.RoleID, ARN: c.Session.RoleARN(), AccountID: c.Session.Account, UserName: c.Session.RoleName,
		}}
	case iam.CallerFederated:
		id.Type = "FederatedUser"
		id.SessionContext = &audit.SessionContext{SessionIssuer: audit.SessionIssuer{
			Type: "IAMUser", PrincipalID: c.User.ID, ARN: c.User.ARN(), AccountID: c.User.Account, UserName: c.User.Name,
		}}
	case iam.CallerService:
		id = audit.UserIdentity{Type: "AWSService", InvokedBy: c.Service}
	default:
		id = audit.UserIdentity{Type: "Unknown"}
	}
	return id
}
