// Package snptest is a machine with SEV-SNP for tests: a processor that signs reports
// with a key that a root of the test's own endorses. Nothing that is released imports it.
package snptest
