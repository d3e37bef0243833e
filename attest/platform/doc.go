// Package platform verifies the evidence of every platform there is, by its format. It
// is what a service judges joining nodes with, and what a client and an auditor judge a
// service with.
package platform
