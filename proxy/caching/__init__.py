"""What the cache stage is made of.

``policy``  what may be kept, and what a request asks of the cache
``key``     which requests are the same request
``entry``   a kept answer, sealed; which answers are whole enough to be kept
``replay``  a kept answer in the form that is asked for: whole as a stream, a stream as a whole
``semantic``  questions that mean the same
``idempotency``  requests that are to happen once, by a name that their caller gives them
``flight``  one upstream call for everybody who asks the same at the same time
"""
