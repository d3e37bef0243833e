// Package js runs JavaScript: an application's endpoints, a constitution, ballots.
package js
