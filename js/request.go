package js

type requestState struct{}
