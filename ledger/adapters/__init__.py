"""What stands behind the ports.

``sqlite``          the journal and the keys in one file
``litellm_prices``  the price list that litellm carries
"""
