// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package awsquery

import (
	"net/http"

	"podid/internal/api/call"
	"podid/internal/fault"
)

const reasonMissingAction = "missing-action"

// Exception is an error as AWS names it. Text is the message of faults that
// bring none.
type Exception struct {
	Code   string
	Status int
	Text   string
}

// IsMalformed reports whether a fault is about the form itself, not about
// what a service made of it.
func IsMalformed(f *fault.Error) bool { return f.Reason == reasonMalformed }

// exceptionOf is the one table from faults to the errors that STS and IAM
// have in common: STS and IAM API References, "Errors" and "Common errors".
func exceptionOf(op call.Operation, f *fault.Error) Exception {
	switch f.Kind {
	case fault.InvalidParameter:
		return Exception{Code: "ValidationError", Status: http.StatusBadRequest}
	case fault.InvalidRequest:
		if IsMalformed(f) {
			return Exception{Code: "MalformedInput", Status: http.StatusBadRequest}
		}
		return Exception{Code: "InvalidParameterValue", Status: http.StatusBadRequest}
	case fault.MissingParameter:
		return Exception{Code: "MissingParameter", Status: http.StatusBadRequest}
	case fault.MalformedPolicy:
		return Exception{Code: "MalformedPolicyDocument", Status: http.StatusBadRequest}
	case fault.NotFound:
		return Exception{Code: "NoSuchEntity", Status: http.StatusNotFound}
	case fault.AlreadyExists:
		return Exception{Code: "EntityAlreadyExists", Status: http.StatusConflict}
	case fault.DeleteConflict:
		return Exception{Code: "DeleteConflict", Status: http.StatusConflict}
	case fault.LimitExceeded:
		return Exception{Code: "LimitExceeded", Status: http.StatusConflict}
	case fault.IdPRejected:
		return Exception{Code: "IDPRejectedClaim", Status: http.StatusForbidden}
	case fault.IdPUnavailable:
		return Exception{Code: "IDPCommunicationError", Status: http.StatusBadRequest}
	case fault.PackedPolicyTooLarge:
		return Exception{Code: "PackedPolicyTooLarge", Status: http.StatusBadRequest}
	case fault.UnknownOperation:
		if f.Reason == reasonMissingAction {
			return Exception{Code: "MissingAction", Status: http.StatusBadRequest}
		}
		return Exception{Code: "InvalidAction", Status: http.StatusBadRequest}
	case fault.TooLarge:
		return Exception{Code: "RequestEntityTooLarge", Status: http.StatusRequestEntityTooLarge}
	case fault.Throttled:
		return Exception{"Throttling", http.StatusBadRequest, "Rate exceeded"}
	case fault.Unavailable:
		return Exception{"ServiceUnavailable", http.StatusServiceUnavailable, "The request has failed due to a temporary failure of the server."}
	default:
		return securityException(op, f)
	}
}

// securityException names what is wrong with who asks. A token in the body of
// an operation that needs no signature has names of its own.
func securityException(op call.Operation, f *fault.Error) Exception {
	switch f.Kind {
	case fault.AccessDenied:
		return Exception{"AccessDenied", http.StatusForbidden, "Access Denied"}
	case fault.ExpiredToken:
		return Exception{"ExpiredTokenException", http.StatusBadRequest, "Token expired"}
	case fault.ExpiredCredentials:
		return Exception{"ExpiredToken", http.StatusForbidden, "The security token included in the request is expired"}
	case fault.InvalidToken:
		if op.Anonymous {
			return Exception{"InvalidIdentityToken", http.StatusBadRequest, "The web identity token that was passed could not be validated."}
		}
		return Exception{"InvalidClientTokenId", http.StatusForbidden, "The security token included in the request is invalid."}
	case fault.UnknownAccessKey:
		return Exception{"InvalidClientTokenId", http.StatusForbidden, "The security token included in the request is invalid."}
	case fault.MissingAuthentication:
		return Exception{"MissingAuthenticationToken", http.StatusForbidden, "Request is missing Authentication Token"}
	case fault.SignatureMismatch:
		return Exception{"SignatureDoesNotMatch", http.StatusForbidden, "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."}
	case fault.IncompleteSignature:
		return Exception{"IncompleteSignature", http.StatusBadRequest, "The request signature does not conform to AWS standards."}
	default: // fault.Internal and kinds that no Query service returns
		return Exception{"InternalFailure", http.StatusInternalServerError, "The request processing has failed because of an unknown error, exception or failure."}
	}
}
