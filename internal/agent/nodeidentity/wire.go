// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package nodeidentity

import (
	"encoding/xml"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

type sessionXML struct {
	XMLName xml.Name `xml:"AssumeRoleWithWebIdentityResponse"`
	Result  struct {
		Credentials struct {
			AccessKeyID     string `xml:"AccessKeyId"`
			SecretAccessKey string
			SessionToken    string
			Expiration      string
		}
		AssumedRoleUser struct {
			ARN string `xml:"Arn"`
		}
	} `xml:"AssumeRoleWithWebIdentityResult"`
}

func decodeSession(answer []byte) (aws.Credentials, error) {
	var in sessionXML
	if err := xml.Unmarshal(answer, &in); err != nil {
		return aws.Credentials{}, errors.New("STS answered something else than a session")
	}
	c := in.Result.Credentials
	if c.AccessKeyID == "" || c.SecretAccessKey == "" || c.SessionToken == "" {
		return aws.Credentials{}, errors.New("STS answered a session without keys")
	}
	expires, err := time.Parse(time.RFC3339, c.Expiration)
	if err != nil {
		return aws.Credentials{}, errors.New("STS answered a session without a valid expiration")
	}
	creds := aws.Credentials{
		AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken,
		Source: "podid-agent web identity", CanExpire: true, Expires: expires,
	}
	if parts := strings.SplitN(in.Result.AssumedRoleUser.ARN, ":", 6); len(parts) == 6 {
		creds.AccountID = parts[4]
	}
	return creds, nil
}

// stsError is a refusal by STS.
type stsError struct {
	status                   int
	Code, Message, RequestID string
}

// Error implements error; the server's words are cut to a length fit for a log line.
func (e *stsError) Error() string {
	return fmt.Sprintf("[%.64s]: (%.64s): %.1024s, status %d", e.RequestID, e.Code, e.Message, e.status)
}

func (e *stsError) retryable() bool {
	return e.status >= 500 || e.status == 429 || e.Code == "Throttling" || e.Code == "IDPCommunicationError"
}

func decodeError(status int, answer []byte) *stsError {
	var in struct {
		Error struct {
			Code    string
			Message string
		}
		RequestID string `xml:"RequestId"`
	}
	e := &stsError{status: status, Code: "UnknownError"}
	if xml.Unmarshal(answer, &in) == nil && in.Error.Code != "" {
		e.Code, e.Message, e.RequestID = in.Error.Code, in.Error.Message, in.RequestID
	}
	return e
}
