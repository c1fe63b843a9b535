"""HTTP's machinery: requests, errors, lists, the forms of values on the wire."""
