"""Networks that are not trained against: what metrics and teachers see in images."""
