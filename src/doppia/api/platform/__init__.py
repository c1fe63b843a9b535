"""Events, proofs, bulk requests and operations over HTTP."""
