"""Whole messages to start from, and the fragments that make trouble."""

_FORM = (
    b"POST / HTTP/1.1\r\nHost: pbx\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 31\r\n\r\n"
    b"command=SendSMS&Recipient=0612&"
)
_CHUNKED = (
    b"POST / HTTP/1.1\r\nHost: pbx\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    b"7\r\ncommand\r\n1\r\n=\r\n6\r\nHangUp\r\n0\r\nX-Trailer: x\r\n\r\n"
)
_PIPELINED = (
    b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nPOST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok"
    b"GET /c HTTP/1.1\r\nHost: a\r\n\r\n"
)
_ANSWER = (
    b'<?xml version="1.0" encoding="utf-8"?>\r\n'
    b"<Response><Code>200</Code><Message>Command successfully executed</Message></Response>"
)
_NAMESPACED = (
    b'\r\n\xef\xbb\xbf<?xml version="1.0"?>'
    b'<ns:R xmlns:ns="urn:x"><ns:Calls><Call id="1"/></ns:Calls><ns:Code> 301 </ns:Code></ns:R>'
)
REQUESTS: tuple[bytes, ...] = (
    b"GET /?command=ListActiveCalls HTTP/1.1\r\nHost: 127.0.0.1:7780\r\n\r\n",
    b"GET /command=ListExtensions HTTP/1.1\r\nHost: pbx\r\nConnection: keep-alive\r\n\r\n",
    b"GET http://pbx:7780/?command=Dial&Dialed=%2B3612345678 HTTP/1.1\r\nHost: pbx:7780\r\nAccept: */*\r\n\r\n",
    _FORM,
    _CHUNKED,
    b"\r\nGET / HTTP/1.0\r\nConnection: close\r\nUser-Agent: old\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost:\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: A\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: [::1]:80\r\nX-A: 1\r\nX-A: 2\r\nCookie: \xe1=\xff\r\n\r\n",
    _PIPELINED,
)
REPLIES: tuple[bytes, ...] = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 23\r\n\r\n<R><Code>200</Code></R>",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nServer: Microsoft-HTTPAPI/2.0\r\n\r\n4\r\n<R/>\r\n0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nDate: Mon, 23 Nov 2026 09:00:00 GMT\r\n\r\n<Response/>",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nHTTP/1.1 500\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 404 Nincs \xe1\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nContent-Length: 1\r\n\r\nx",
)
HTTP_TOKENS: tuple[bytes, ...] = (
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b"\n\n",
        b"\r\n ",
        b"\r\n\t",
        b" ",
        b"\t",
        b"\0",
        b"\x0b",
        b"\x7f",
        b"\xa0",
        b":",
    ),
    *(
        b" HTTP/1.1",
        b" HTTP/1.0",
        b" HTTP/1.2",
        b" HTTP/2.0",
        b" HTTP/0.9",
        b"HTTP/1.1 100 x\r\n\r\n",
        b"#",
        b"?",
        b"//",
    ),
    *(b"Content-Length: 0\r\n", b"Content-Length: 5\r\n", b"Content-Length: +5\r\n", b"Content-Length: 05\r\n"),
    *(b"Content-Length : 5\r\n", b"content_length: 5\r\n", b"Content-Length: 99999999999999999999\r\n", b", 5"),
    *(b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: identity\r\n", b"Transfer-Encoding: xchunked\r\n"),
    *(
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding:\tchunked\r\n",
        b", chunked",
        b"chunked,",
        b"Host: b\r\n",
    ),
    *(
        b"Connection: Host\r\n",
        b"Connection: Content-Length\r\n",
        b"Connection: close\r\n",
        b"Expect: 100-continue\r\n",
    ),
    *(
        b"0\r\n\r\n",
        b"1\r\na\r\n",
        b"5;x=y\r\n",
        b"0x5\r\n",
        b"ffffffff\r\n",
        b"fffffffff\r\n",
        b"-1\r\n",
        b"5 \r\n",
        b"1_0\r\n",
    ),
    *(
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"http://a",
        b"https://",
        b"*",
    ),
)
TARGETS: tuple[bytes, ...] = (
    b"/?command=Call&Dialed=%2B3612345678&Caller=1001&CallbackURL=http%3A%2F%2Fapp%2Fx%3Fa%3Db%26c",
    b"/command=ListActiveCalls&Username=crm&Password=s%C3%A9cret",
    b"/api/v1?Command=SendSMS&Recipient=06+20+123+4567&Message=h%e1%e9+%%zz+\xe1",
    b"/?NotificationName=CallChanged&CallID=12&CallState=Ringing&CallID=13&callid=14",
    b"/?command=BlindTransfer&Target=1099\ncommand=BlindTransfer&Target=+3690123456&target=%31",
    b"/a=b/command=x?command=y&&=&=v&n&%u0041=%U0041&\xff=%ff",
)
TARGET_TOKENS: tuple[bytes, ...] = (
    *(
        b"&",
        b"=",
        b"?",
        b"/",
        b"%",
        b"%2",
        b"%00",
        b"%26",
        b"%3D",
        b"%zz",
        b"%C3%A9",
        b"%c3",
        b"%u0041",
        b"+",
        b"%2B",
        b"%20",
    ),
    *(
        b";",
        b"#",
        b"\0",
        b"\xff",
        b"\xc3\xa9",
        b"command=",
        b"COMMAND=",
        b"%63ommand=",
        b"Dialed=",
        b"dialed=1&Dialed=2",
        b"\n",
    ),
    *(b"Password=x", b"&&", b"==", b"command=Call", b"NotificationName=IncomingCall"),
)
ANSWERS: tuple[bytes, ...] = (
    _ANSWER,
    _NAMESPACED,
    b"<Response><Speak Voice='a'>Hello &amp; &#x41;</Speak><UserInput><Speak>1</Speak></UserInput><GoTo>http://x</GoTo></Response>",
    b"<ozml><If Condition=\"a\"><BlindTransfer Target='1001'/></If><!-- c --><![CDATA[x]]><?pi y?></ozml>",
    b"<!DOCTYPE r [<!ENTITY a 'x'><!ENTITY b '&a;&a;'>]><request>&b;</request>",
    '<?xml version="1.0" encoding="utf-16"?><Response><Code>200</Code></Response>'.encode("utf-16"),
    b"<html><body>Fatal error</body></html>",
    b'{"code": 200}',
    b" \r\n\t",
)
ANSWER_TOKENS: tuple[bytes, ...] = (
    *(
        b"<",
        b">",
        b"/>",
        b"</",
        b"<!",
        b"<!--",
        b"-->",
        b"<![CDATA[",
        b"]]>",
        b"<?",
        b"?>",
        b"&",
        b"&amp;",
        b"&#0;",
        b"&#x110000;",
    ),
    *(
        b"<!DOCTYPE x>",
        b"<Response>",
        b"</Response>",
        b"<Code>",
        b"</Code>",
        b"<a>" * 80,
        b"</a>" * 80,
        b"\xef\xbb\xbf",
        b"\xff\xfe",
    ),
    *(
        b"\xfe\xff",
        b"\0",
        b'encoding="utf-7"',
        b'encoding="utf-32"',
        b'encoding="nonsense"',
        b"xmlns:x='u'",
        b"x:",
        b"99999999999999999999",
    ),
    *("٣".encode(), b"\xff", b" "),
)
NUMBERS: tuple[bytes, ...] = (
    *(
        b"+36201234567",
        b"06201234567",
        b"0036 1 234-5678",
        b"1001",
        b"112",
        b"sip:1001@pbx",
        b"tel:+3612345678;ext=5",
        b"+1 (212) 555-0100",
    ),
    *(
        "٠٦٢٠١٢٣٤٥٦٧".encode(),
        b"*31#06201234567",
        b"+883510001234567",
        b"0690123456",
        b"",
        b"anonymous",
        b"1001,1002;1003",
        b"+",
    ),
)
NUMBER_TOKENS: tuple[bytes, ...] = (
    *(
        b"+",
        b"00",
        b"06",
        b"#",
        b"*",
        b";",
        b",",
        b"@",
        b"sip:",
        b"tel:",
        b";ext=",
        b"x",
        b" ",
        b"(",
        b")",
        b"-",
        b".",
        b"/",
        b"\0",
    ),
    *("１".encode(), "²".encode(), "٣".encode(), b"\xff", b"p", b"w", b"0" * 40, b"9" * 300, b"a", b"\xe2\x80\x8e"),
)
