// Package api names what crosses the wire between a client and a node: error
// codes, header names and the JSON documents that openapi.yaml describes.
//
// The names and shapes are CCF 7.0's, so that its clients work unchanged. The
// package holds no logic beside encoding: server produces these values, client
// consumes them, and a test compares them with openapi.yaml.
//
// An error answer is
//
//	{"error": {"code": "<Code>", "message": "<text>", "details": [...]}}
//
// with "details" left out when empty. Codes are stable, messages are for people.
package api
