// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

// Package audit owns the record of what was asked and decided: one
// CloudTrail-shaped JSON line for every management call, exchange and
// refusal, with an extra block that names association, pod, node, the access
// key id issued, the reason code and the failing statement. It refuses to
// hold secrets: tokens are replaced before they get here. When its sink
// cannot be written, management calls are refused and exchanges go on,
// counted.
package audit

import "time"

// Hidden stands where a request held a token or secret, as in CloudTrail.
const Hidden = "HIDDEN_DUE_TO_SECURITY_REASONS"

// Event is one line. Names follow CloudTrail's record contents (CloudTrail
// User Guide, "CloudTrail record contents").
type Event struct {
	EventVersion       string       `json:"eventVersion"`
	UserIdentity       UserIdentity `json:"userIdentity"`
	EventTime          time.Time    `json:"eventTime"`
	EventSource        string       `json:"eventSource"` // "eks.amazonaws.com"
	EventName          string       `json:"eventName"`   // the operation
	AWSRegion          string       `json:"awsRegion"`
	SourceIPAddress    string       `json:"sourceIPAddress"`
	UserAgent          string       `json:"userAgent,omitempty"`
	ErrorCode          string       `json:"errorCode,omitempty"`
	ErrorMessage       string       `json:"errorMessage,omitempty"`
	RequestParameters  any          `json:"requestParameters"`
	ResponseElements   any          `json:"responseElements"`
	RequestID          string       `json:"requestID"`
	EventID            string       `json:"eventID"`
	ReadOnly           bool         `json:"readOnly"`
	Resources          []Resource   `json:"resources,omitempty"`
	EventType          string       `json:"eventType"`
	ManagementEvent    bool         `json:"managementEvent"`
	RecipientAccountID string       `json:"recipientAccountId"`
	EventCategory      string       `json:"eventCategory"`
	Podid              *Extra       `json:"podid,omitempty"`
}

// UserIdentity is who called.
type UserIdentity struct {
	Type           string          `json:"type"` // IAMUser, AssumedRole, AWSService, WebIdentityUser, Unknown
	PrincipalID    string          `json:"principalId,omitempty"`
	ARN            string          `json:"arn,omitempty"`
	AccountID      string          `json:"accountId,omitempty"`
	AccessKeyID    string          `json:"accessKeyId,omitempty"`
	UserName       string          `json:"userName,omitempty"`
	InvokedBy      string          `json:"invokedBy,omitempty"`
	SessionContext *SessionContext `json:"sessionContext,omitempty"`
}

// SessionContext names the role behind a session.
type SessionContext struct {
	SessionIssuer SessionIssuer `json:"sessionIssuer"`
}

// SessionIssuer is the role that a session was issued for.
type SessionIssuer struct {
	Type        string `json:"type"`
	PrincipalID string `json:"principalId"`
	ARN         string `json:"arn"`
	AccountID   string `json:"accountId"`
	UserName    string `json:"userName"`
}

// Resource is something that the call touched.
type Resource struct {
	AccountID string `json:"accountId,omitempty"`
	Type      string `json:"type,omitempty"` // AWS::EKS::Cluster
	ARN       string `json:"ARN"`
}

// Assumption is the ResponseElements of a call that gave credentials of a role:
// neither secret nor token.
type Assumption struct {
	AssumedRoleUser  AssumedRoleUser   `json:"assumedRoleUser"`
	Credentials      IssuedCredentials `json:"credentials"`
	PackedPolicySize int               `json:"packedPolicySize"`
}

// AssumedRoleUser is the session that was made.
type AssumedRoleUser struct {
	ARN           string `json:"arn"`
	AssumedRoleID string `json:"assumedRoleId"`
}

// IssuedCredentials are shown by their key id and their end.
type IssuedCredentials struct {
	AccessKeyID  string    `json:"accessKeyId"`
	Expiration   time.Time `json:"expiration"`   // UTC, to the second
	SessionToken string    `json:"sessionToken"` // Hidden
}

// Tag is a session tag of the credentials that were issued.
type Tag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Extra is what podid adds to CloudTrail's shape.
type Extra struct {
	AssociationID       string `json:"associationId,omitempty"`
	ClusterUID          string `json:"clusterUid,omitempty"`
	Namespace           string `json:"namespace,omitempty"`
	ServiceAccount      string `json:"serviceAccount,omitempty"`
	Pod                 string `json:"pod,omitempty"`
	PodUID              string `json:"podUid,omitempty"`
	Node                string `json:"node,omitempty"`
	CallerNode          string `json:"callerNode,omitempty"`
	AnyNode             bool   `json:"anyNode,omitempty"` // allowed by podid:ExchangeForAnyNode
	RoleARN             string `json:"roleArn,omitempty"`
	SessionARN          string `json:"sessionArn,omitempty"`
	AccessKeyIDIssued   string `json:"accessKeyIdIssued,omitempty"`
	SessionTags         []Tag  `json:"sessionTags,omitempty"` // in AWS' order; all of them transitive
	Reason              string `json:"reason,omitempty"`
	Detail              any    `json:"detail,omitempty"` // the failing statement
	HTTPStatus          int    `json:"httpStatus,omitempty"`
	DurationMicrosecond int64  `json:"durationMicroseconds,omitempty"`
}
