package api

import "encoding/json"

// Commit is the answer of GET /{frontend}/commit.
type Commit struct {
	TransactionID string   `json:"transaction_id"`
	ViewHistory   []string `json:"view_history,omitempty"`
}

// TxStatus is the answer of GET /{frontend}/tx.
type TxStatus struct {
	Status        string `json:"status"`
	TransactionID string `json:"transaction_id"`
}

// Written is the answer to a write that asked to wait for its receipt
// (Prefer: wait=receipt): the application's own answer and the proof.
type Written struct {
	// TransactionID is the write's position.
	TransactionID string `json:"transaction_id"`
	// Status and ContentType are those of the application's answer.
	Status      int    `json:"status"`
	ContentType string `json:"content_type,omitempty"`
	// Body is the application's answer: as it is when it is JSON, else a JSON string
	// with the text, or with base64 where the body is not valid UTF-8 (Encoding).
	Body     json.RawMessage `json:"body,omitempty"`
	Encoding string          `json:"encoding,omitempty"`
	// Receipt is the receipt in CCF's JSON form.
	Receipt json.RawMessage `json:"receipt"`
}
