"""What holds a request back, as mechanisms without a stage.

``estimate``  how many tokens a request is taken to need, and how many it needed
``rates``     which limits apply to a call
``queue``     a short wait in turn, fair between keys
``adaptive``  how many requests an account may have under way, by how it answers
``accounts``  the limits of the accounts at the providers
``overload``  when this process itself has more to do than it can
"""
