"""Routes and where they lead: the rules, and the changes that more than one request makes."""
