package server

// byHand says what forms and members are whose sources do not.
var byHand = map[string]string{}
