// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package eksauthapi owns the EKS Auth API on the wire: one operation, the
// exchange of a pod's token for credentials. It is the hottest path of podid,
// so it reads and writes its JSON by hand where the common form allows. It
// refuses cluster names and tokens outside the API model's patterns; all else
// is decided in the exchange. The token never reaches audit or an error.
// Source: API model eks-auth 2023-11-26.
package eksauthapi

import (
	"bytes"
	"context"
	"net/http"
	"strings"

	"podid/internal/api/call"
	"podid/internal/api/restjson"
	"podid/internal/arn"
	"podid/internal/audit"
	"podid/internal/cluster"
	"podid/internal/exchange"
	"podid/internal/fault"
	"podid/internal/iam"
)

// Exchanger exchanges a pod's token for credentials of its role.
type Exchanger interface {
	AssumeRoleForPodIdentity(ctx context.Context, caller iam.Caller, in exchange.Request) (*exchange.Result, error)
}

// API is the EKS Auth API of one control plane. All fields are required.
type API struct {
	Exchange  Exchanger
	Partition string
	Account   string
	Region    string
}

// Routes lists the one operation.
func (a *API) Routes() []restjson.Route {
	return []restjson.Route{{
		Method: http.MethodPost, Pattern: "/clusters/{clusterName}/assume-role-for-pod-identity", Handler: a.assume, Errors: Errors(),
		Operation: call.Operation{
			Service: "eks-auth", Source: "eks-auth.amazonaws.com", Name: "AssumeRoleForPodIdentity", Action: exchange.ActionAssume,
			Resource: "arn:${Partition}:eks:${Region}:${Account}:cluster/${ClusterName}", ReadOnly: true, Exchange: true,
		},
	}}
}

// Errors is the service's table: unlike EKS, it answers 400 to whom it denies.
func Errors() restjson.Errors {
	const bad = http.StatusBadRequest
	return restjson.Errors{
		fault.Internal:       {Name: "InternalServerException", Status: http.StatusInternalServerError},
		fault.AccessDenied:   {Name: "AccessDeniedException", Status: bad},
		fault.ExpiredToken:   {Name: "ExpiredTokenException", Status: bad},
		fault.InvalidToken:   {Name: "InvalidTokenException", Status: bad},
		fault.IdPRejected:    {Name: "InvalidTokenException", Status: bad},
		fault.IdPUnavailable: {Name: "ServiceUnavailableException", Status: http.StatusServiceUnavailable},
		fault.LimitExceeded:  {Name: "InvalidRequestException", Status: bad},
		fault.AlreadyExists:  {Name: "InvalidRequestException", Status: bad},
		fault.DeleteConflict: {Name: "InvalidRequestException", Status: bad},
	}
}

type input struct {
	Token string `json:"token"`
}

// parameters is what audit keeps of a request.
type parameters struct {
	ClusterName string `json:"clusterName"`
	Token       string `json:"token"`
}

// plainParameters are parameters whose cluster name is valid, so that nothing
// in them needs an escape: they write what encoding/json makes of parameters.
type plainParameters parameters

// AppendJSON is what audit's encoder asks for.
func (p plainParameters) AppendJSON(b []byte) []byte {
	b = restjson.AppendString(append(b, `{"clusterName":`...), p.ClusterName)
	b = restjson.AppendString(append(b, `,"token":`...), p.Token)
	return append(b, '}')
}

func (a *API) assume(ctx context.Context, c *call.Call) (any, error) {
	name := c.HTTP.PathValue("clusterName")
	c.Event.RequestParameters = parameters{name, audit.Hidden}
	if !cluster.ValidName(name) {
		return nil, fault.New(fault.InvalidParameter, "The clusterName %.100q is not valid: 1 to 100 letters, digits, '-' and '_', beginning with a letter or digit.", name).
			WithReason("cluster-name")
	}
	c.Event.RequestParameters = plainParameters{name, audit.Hidden}
	c.Event.Resources = []audit.Resource{{AccountID: a.Account, Type: "AWS::EKS::Cluster", ARN: arn.Cluster(a.Partition, a.Region, a.Account, name)}}
	token, err := readToken(c.Body)
	if err != nil {
		return nil, err
	}
	r, err := a.Exchange.AssumeRoleForPodIdentity(ctx, c.Caller, exchange.Request{ClusterName: name, Token: token})
	if err != nil {
		return nil, refused(c, err)
	}
	c.Event.Podid = &r.Extra
	return (*output)(r), nil
}

// refused moves what the exchange knew of the pod to audit, and leaves the
// cause as the fault's detail.
func refused(c *call.Call, err error) error {
	f := fault.As(err)
	r, ok := f.Detail.(exchange.Refusal)
	if !ok {
		return err
	}
	c.Event.Podid = &r.Extra
	n := *f
	n.Detail = r.Cause
	return &n
}

// readToken reads {"token":"…"}. The form that agents send is cut out by hand;
// everything else goes the long way, with the same outcome.
func readToken(body []byte) (string, error) {
	if t, ok := plainToken(body); ok {
		return t, nil
	}
	var in input
	if err := restjson.Decode(body, &in); err != nil {
		return "", err
	}
	if in.Token == "" {
		return "", fault.New(fault.MissingParameter, "The parameter token is required.").WithReason("token-missing")
	}
	if !isToken(in.Token) {
		return "", fault.New(fault.InvalidParameter, "The token is not of the form of a JSON Web Token: three parts of base64url, parted by dots.").WithReason("token-form")
	}
	return in.Token, nil
}

func plainToken(body []byte) (string, bool) {
	b := bytes.TrimSpace(body)
	b, ok := bytes.CutPrefix(b, []byte(`{"token":`))
	if !ok {
		return "", false
	}
	b = bytes.TrimLeft(b, " ")
	if len(b) < 3 || b[0] != '"' || string(b[len(b)-2:]) != `"}` {
		return "", false
	}
	t := string(b[1 : len(b)-2])
	return t, isToken(t)
}

// isToken judges by the model's pattern: three parts of [A-Za-z0-9-_=]+.
func isToken(s string) bool {
	header, rest, _ := strings.Cut(s, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	return isTokenPart(header) && isTokenPart(payload) && isTokenPart(signature)
}

// partChar marks the characters of a part. Branches on a token's random text
// would be mispredicted every other time.
var partChar = func() (t [256]byte) {
	for _, c := range []byte("-_=0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		t[c] = 1
	}
	return t
}()

func isTokenPart(s string) bool {
	ok := byte(1)
	for i := range len(s) {
		ok &= partChar[s[i]]
	}
	return ok == 1 && s != ""
}

// output writes AssumeRoleForPodIdentityResponse.
type output exchange.Result

// AppendJSON implements restjson.Appender.
func (o *output) AppendJSON(b []byte) []byte {
	field := func(name, value string) { b = restjson.AppendString(append(b, name...), value) }
	field(`{"subject":{"namespace":`, o.Namespace)
	field(`,"serviceAccount":`, o.ServiceAccount)
	field(`},"audience":`, o.Audience)
	field(`,"podIdentityAssociation":{"associationArn":`, o.AssociationARN)
	field(`,"associationId":`, o.AssociationID)
	field(`},"assumedRoleUser":{"arn":`, o.AssumedRoleARN)
	field(`,"assumeRoleId":`, o.AssumedRoleID)
	field(`},"credentials":{"sessionToken":`, o.Credentials.SessionToken.Reveal())
	field(`,"secretAccessKey":`, o.Credentials.SecretAccessKey.Reveal())
	field(`,"accessKeyId":`, o.Credentials.AccessKeyID)
	b = restjson.AppendTime(append(b, `,"expiration":`...), o.Credentials.Expires)
	return append(b, "}}"...)
}
